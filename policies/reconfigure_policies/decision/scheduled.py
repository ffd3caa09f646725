"""When the calendar speaks up: once for each span that begins, late rather than never, and never over an operator.

The calendar is read as a level, not as a bell: what counts is the span that holds now. A controller that was down, or
a machine that slept, therefore makes up for all that it missed with the one change that still matters.
"""

from __future__ import annotations

from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.schedule import ScheduledSpan

#: A clock that is set back by less does not undo a change that has just been made.
CLOCK_TOLERANCE_S = 120.0


def span_due(
    current: ScheduledSpan | None, followed: ScheduledSpan | None, state: ControllerState, now: float
) -> ScheduledSpan | None:
    """The span to follow now, or None if there is nothing new to do.

    Only beginnings count: when a span is over, what it covered comes back as after any temporary objective. Between
    two beginnings an operator's word holds, and a temporary one (`--for`) is waited for.

    Args:
        current: the span that holds now by the calendar.
        followed: the one that was followed last, if the calendar still has it.
        state: the standing orders.
        now: wall-clock seconds since the epoch.
    """
    if current is None or current == followed or _is_operators_for_a_while(state, now):
        return None
    if followed is not None and current.begins_at <= followed.begins_at <= now + CLOCK_TOLERANCE_S:
        return None
    return current


def _is_operators_for_a_while(state: ControllerState, now: float) -> bool:
    """Whether a temporary objective is in force that no schedule asked for."""
    until = state.objective_until
    if not state.covered or until is None or until <= now:
        return False
    return state.scheduled is None or state.scheduled.ends_at != until
