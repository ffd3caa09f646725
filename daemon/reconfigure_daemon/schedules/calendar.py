"""Several schedules over each other: which one holds, what comes next, and which of them contradict each other.

The rule: the schedule that began last holds. When it is over (`lasts`), the one that it covered comes back, if that
still holds. Two that begin in the same moment and want different things contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import combinations, islice

from reconfigure_daemon.schedules.cron_line import Recurrence
from reconfigure_policies.domain.objective import Objective
from reconfigure_policies.domain.schedule import ScheduledSpan

DAY_S = 86400.0

#: Contradictions are looked for this far ahead, and among so many comings of the rarer of two schedules.
_FORESIGHT_S = 400 * DAY_S
_MOST_COMINGS = 1500


@dataclass(frozen=True, slots=True)
class Schedule:
    """One entry of the calendar.

    Attributes:
        name: as operators call it.
        objective: what it wants.
        recurrence: when it begins.
        lasts_s: how long it holds; None until another schedule begins.
    """

    name: str
    objective: Objective
    recurrence: Recurrence
    lasts_s: float | None = None

    def span(self, begins_at: float) -> ScheduledSpan:
        """Its coming at a moment that its recurrence names."""
        ends_at = None if self.lasts_s is None else begins_at + self.lasts_s
        return ScheduledSpan(self.name, self.objective, begins_at, ends_at)

    def spans(self, after: float, until: float) -> Iterator[ScheduledSpan]:
        """Those that begin later than `after` and not later than `until`, in order."""
        return map(self.span, self.recurrence.between(after, until))


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two schedules that begin in the same moment and want different things."""

    first: Schedule
    second: Schedule
    at: float


class Calendar:
    """Every schedule; times are wall-clock seconds since the epoch."""

    def __init__(self, schedules: Sequence[Schedule] = ()) -> None:
        self.schedules = tuple(schedules)

    def at(self, now: float) -> ScheduledSpan | None:
        """The span that holds, or None outside every schedule. Of two that began together, the later in the file."""
        began = [(each, each.recurrence.latest(now)) for each in self.schedules]
        spans = [each.span(at) for each, at in began if at is not None]
        return max((s for s in reversed(spans) if s.holds_at(now)), key=lambda span: span.begins_at, default=None)

    def has(self, span: ScheduledSpan) -> bool:
        """Whether a span is still one of this calendar's, after it may have been rewritten."""
        named = next((each for each in self.schedules if each.name == span.schedule), None)
        if named is None or named.recurrence.latest(span.begins_at) != span.begins_at:
            return False
        return named.span(span.begins_at) == span

    def zone(self, name: str) -> str:
        """The time zone of a schedule, by its IANA name."""
        return next(each.recurrence.zone.key for each in self.schedules if each.name == name)

    def next(self, after: float) -> ScheduledSpan | None:
        """The first span that begins later than `after`."""
        coming = [(each, each.recurrence.next(after)) for each in self.schedules]
        spans = [each.span(at) for each, at in coming if at is not None]
        return min(reversed(spans), key=lambda span: span.begins_at, default=None)

    def coming(self, after: float, until: float, limit: int) -> list[ScheduledSpan]:
        """The first `limit` spans that begin later than `after` and not later than `until`, in order."""
        each = [schedule.spans(after, until) for schedule in self.schedules]
        return list(islice(merge(*each, key=lambda span: span.begins_at), limit))

    def contradictions(self, now: float) -> list[Contradiction]:
        """The first clash of each pair in the coming 400 days."""
        horizon = now + _FORESIGHT_S
        comings = {
            each.name: list(islice(each.recurrence.between(now, horizon), _MOST_COMINGS)) for each in self.schedules
        }
        found = []
        for first, second in combinations(self.schedules, 2):
            if (first.objective, first.lasts_s) != (second.objective, second.lasts_s):
                at = _first_common(comings[first.name], comings[second.name], first, second)
                found += [] if at is None else [Contradiction(first, second, at)]
        return found


def _first_common(ones: list[float], others: list[float], one: Schedule, other: Schedule) -> float | None:
    """The first moment of both; the rarer one's moments are asked of the other where its own list ends earlier."""
    if len(ones) > len(others):
        return _first_common(others, ones, other, one)
    listed, end = set(others), others[-1] if others else 0.0
    return next((at for at in ones if at in listed or (at > end and other.recurrence.latest(at) == at)), None)
