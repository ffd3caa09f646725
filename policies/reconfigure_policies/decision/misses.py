"""Requests that missed the SLO, as they were measured: how many are too many, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from reconfigure_policies.domain.workload import WorkloadWindow

#: Fewer finished requests than this say nothing of a tail.
LEAST_REQUESTS = 20

#: Share of requests outside the SLO that nobody waits with until more is known.
_DISASTER = 0.2

#: Standard normal deviate of what chance exceeds once in a thousand times: nothing is changed for bad luck.
_Z999 = 3.1


def misses(windows: Sequence[WorkloadWindow]) -> tuple[int, int]:
    """`(failed, finished)` requests; those not read in time, or aborted inside the SLO, count as neither."""
    finished = sum(window.judged for window in windows)
    return finished - sum(window.slo_met for window in windows), finished


def is_disaster(windows: Sequence[WorkloadWindow]) -> bool:
    """Whether so many missed the SLO that there is no need to see more."""
    failed, finished = misses(windows)
    return finished >= LEAST_REQUESTS and failed > _DISASTER * finished + chance(finished, _DISASTER)


def chance(requests: int, share: float) -> float:
    """By how much a count of independent failures may exceed its mean without meaning anything."""
    return _Z999 * sqrt(requests * share * (1 - share))


def misses_words(windows: Sequence[WorkloadWindow]) -> str:
    """As a clause, e.g. `31 of 120 requests missed the SLO in 60 s`."""
    failed, finished = misses(windows)
    return f"{failed} of {finished} requests missed the SLO in {sum(window.duration_s for window in windows):.0f} s"
