"""Room for one action at a time; whoever comes second is told what runs and since when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.errors import ActionInProgress
from reconfigure_daemon.ports import ActionState


class ActionSlot:
    """Holds the controller's own action while it runs.

    Attributes:
        current: what runs, or None.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.current: ActionState | None = None

    @contextmanager
    def taken(self, action: ActionState) -> Iterator[None]:
        """Hold the slot for an action.

        Raises:
            ActionInProgress: if another one holds it.
        """
        self.refuse_during(self.current)
        self.current = action
        try:
            yield
        finally:
            self.current = None

    def refuse_during(self, action: ActionState | None) -> None:
        """Refuse to go on if an action runs, here or in the engine host.

        Raises:
            ActionInProgress: with its name and its start.
        """
        if action is None:
            return
        at = time.strftime("%H:%M:%S", time.localtime(action.since))
        lasting_s = max(0.0, self._clock.wall() - action.since)
        what = " ".join(filter(None, (action.kind, action.detail)))
        raise ActionInProgress(
            action.kind,
            action.since,
            f"another action runs since {at} ({lasting_s:.1f} s): {what}, phase {action.phase}; "
            "try again when it is done, `reconfigure status` shows it",
        )
