from __future__ import annotations

import pytest

from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.control_loop.action_slot import ActionSlot
from reconfigure_daemon.errors import ActionInProgress
from reconfigure_daemon.ports import ActionState


def test_the_slot_is_free_again_even_after_a_failure():
    """An action that fails does not lock the daemon."""
    slot = ActionSlot(SystemClock())
    action = ActionState(kind="switch", since=0.0, phase="act")
    with pytest.raises(ZeroDivisionError), slot.taken(action):
        raise ZeroDivisionError
    with slot.taken(action):
        assert slot.current == action
    assert slot.current is None


def test_whoever_comes_second_is_told_what_runs():
    """The refusal names the action, its phase and its start, and keeps both as facts."""
    clock = SystemClock()
    slot = ActionSlot(clock)
    action = ActionState(kind="switch", since=clock.wall() - 3, phase="pre_copy", detail="apply block_size=32 by cli")
    with (
        slot.taken(action),
        pytest.raises(ActionInProgress, match="apply block_size=32 by cli, phase pre_copy") as no,
        slot.taken(action),
    ):
        pass
    assert (no.value.action, no.value.since) == ("switch", action.since)
