"""Where the load goes while a new core boots: counts of arrivals in, a trend out; nothing else is kept.

The thirds of the last minute are compared. A load that has climbed from each to the next, by more than chance explains,
and is still up there in the last seconds, goes on from the last third by the lesser of the two steps. Any other is what
the last two thirds and the last seconds have all seen, so that one that has jumped is taken for no more than it is, and
one that was high for seconds for a burst, which would be over before a core has booted. Unlike windows, counts of
arrivals do not care which configuration served, so that they go on while the governor moves its knobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

#: Seconds between two counts, and how many make a third.
_BETWEEN_S, _OF_A_THIRD = 5.0, 4

#: Steps from third to third that are taken for a climb, in standard errors, and for one that goes on; the last seconds
#: lie less below the last third.
_STEEP, _STILL_STEEP = 2.0, 0.5

#: Counts that are further apart have a pause between them, of which nothing is known.
_PAUSE_S = 20.0

#: A load is not expected to grow by more than this factor; one that does is looked at again on the way there.
_MOST_GROWTH = 2.0

#: Both ends of the minute count.
_COUNTS = 3 * _OF_A_THIRD + 1


@dataclass(frozen=True, slots=True)
class Trend:
    """Where the load is, and where it goes.

    Attributes:
        now_rps: arrivals each second.
        then_rps: what they come to if they go on like that, at least as many.
        in_s: when.
        most_rps: the highest that the last two thirds and the last seconds have seen.
        error_rps: standard error of `now_rps`.
        burstiness: variance of a count of arrivals as a multiple of its mean; 1 for independent arrivals.
        climbs: whether it goes up all the time.
    """

    now_rps: float
    then_rps: float
    in_s: float
    most_rps: float
    error_rps: float
    burstiness: float
    climbs: bool

    def __str__(self) -> str:
        ahead = f", {self.then_rps:.3g} in {self.in_s:.0f} s if it goes on" if self.then_rps > self.now_rps else ""
        return f"{self.now_rps:.3g} now{ahead}"


@dataclass(frozen=True, slots=True)
class ArrivalCounts:
    """The counter of arrivals as it was every few seconds; the start knows none.

    Attributes:
        at_s: of each, on one clock, ascending.
        counts: likewise, never falling.
    """

    at_s: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    def after(self, at_s: float, count: int) -> ArrivalCounts:
        """With the counter as it is now; another clock, another counter or a pause begins anew."""
        if not self.at_s or at_s < self.at_s[-1] or count < self.counts[-1] or at_s - self.at_s[-1] > _PAUSE_S:
            return ArrivalCounts((at_s,), (count,))
        if at_s - self.at_s[-1] < _BETWEEN_S:
            return self
        kept = slice(-_COUNTS, None)
        return ArrivalCounts((*self.at_s, at_s)[kept], (*self.counts, count)[kept])


def trend_of(arrivals: ArrivalCounts, lead_s: float, burstiness: float = 1.0, *, climbed: bool = False) -> Trend | None:
    """What the counts show; None where there are too few, or nothing arrived.

    Args:
        arrivals: of the last minute.
        lead_s: how far to look ahead: what a change takes that is to be there in time.
        burstiness: that windows have shown, at least 1.
        climbed: whether it did just before, so that less tells that it still does.
    """
    if len(arrivals.at_s) < _COUNTS or arrivals.counts[0] == arrivals.counts[-1]:
        return None
    looks = [*zip(arrivals.at_s, arrivals.counts, strict=True)]
    rates, (latest_rps,) = _rates(looks[::_OF_A_THIRD]), _rates(looks[-2:])
    third_s = (arrivals.at_s[-1] - arrivals.at_s[0]) / 3
    steps = [later - earlier for earlier, later in pairwise(rates)]
    errors = [sqrt(burstiness * (earlier + later) / third_s) for earlier, later in pairwise(rates)]
    enough = _STILL_STEEP if climbed else _STEEP
    steep = all(step > enough * error for step, error in zip(steps, errors, strict=True))
    climbs = steep and latest_rps + _STEEP * sqrt(burstiness * latest_rps / _BETWEEN_S) >= rates[-1]
    growth = min(steps) / third_s if climbs else 0.0
    now_rps = rates[-1] + growth * third_s / 2 if climbs else min(*rates[-2:], latest_rps)
    then_rps = min(now_rps + growth * lead_s, _MOST_GROWTH * rates[-1])
    error_rps = sqrt(burstiness * now_rps / third_s)
    return Trend(now_rps, then_rps, lead_s, max(*rates[-2:], latest_rps), error_rps, burstiness, climbs)


def _rates(looks: Sequence[tuple[float, int]]) -> list[float]:
    """Arrivals each second between looks at the counter."""
    return [(count - before) / (at_s - from_s) for (from_s, before), (at_s, count) in pairwise(looks)]
