"""Quantiles of latencies from buckets whose edges grow geometrically: bounded memory, bounded relative error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from reconfigure_policies.domain.workload import ITL_BUCKETS_S, Percentiles

QUANTILES = (0.5, 0.9, 0.99)

#: A sketch's quantiles are within this share of the exact ones.
RELATIVE_ERROR = 0.01

#: Shorter latencies count as this long; it bounds the number of buckets (about 1,100 up to an hour).
SHORTEST_S = 1e-6

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)


class LatencySketch:
    """Counts of latencies in buckets that each span 2 %, from which quantiles come within 1 %.

    Source:
        Masson et al. 2019, DDSketch: A fast and fully-mergeable quantile sketch with relative-error guarantees.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, latency_s: float) -> None:
        """Count one latency in seconds."""
        self._counts[math.ceil(math.log(max(latency_s, SHORTEST_S)) / _LOG_GROWTH)] += 1

    def quantile(self, q: float) -> float | None:
        """The smallest latency that a share `q` of all does not exceed, in seconds; None of nothing."""
        rank = _nearest_rank(q, self._counts.total())
        for bucket, count in sorted(self._counts.items()):
            rank -= count
            if rank <= 0:
                return 2 * _GROWTH**bucket / (_GROWTH + 1)
        return None

    def percentiles(self) -> Percentiles:
        """The median and the tails."""
        return Percentiles(*map(self.quantile, QUANTILES))


def itl_percentiles(counts: Sequence[int]) -> Percentiles:
    """Percentiles of inter-token latency.

    Args:
        counts: gaps per bucket of `ITL_BUCKETS_S`, one more at the end for those above; empty where unknown.
    """
    return Percentiles(*(bucket_quantile(ITL_BUCKETS_S, counts, q) for q in QUANTILES))


def bucket_quantile(upper_edges: Sequence[float], counts: Sequence[int], q: float) -> float | None:
    """A quantile from bucket counts, interpolated on the logarithmic scale; None without counts or with other buckets.

    Args:
        upper_edges: the buckets' largest values, growing by one factor, by which the first bucket is taken to begin
            below its edge too.
        counts: one per edge, then one for everything above; a quantile up there is given as the last edge, which is
            the most that is known of it.
        q: the share of values not to be exceeded, 0 to 1.
    """
    if len(counts) != len(upper_edges) + 1 or not any(counts):
        return None
    growth = upper_edges[1] / upper_edges[0]
    rank = _nearest_rank(q, sum(counts))
    for upper, count in zip(upper_edges, counts, strict=False):
        if rank <= count > 0:
            return upper * math.pow(growth, rank / count - 1)
        rank -= count
    return upper_edges[-1]


def _nearest_rank(q: float, total: int) -> int:
    return max(1, math.ceil(q * total))
