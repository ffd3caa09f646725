"""Statistics of small samples: percentiles, and ratios of paired runs with an interval."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from reconfigure_daemon.load_generation.percentiles import quantile

RESAMPLES = 10_000

#: Fewer pairs have no 95 % interval: the median lies among five with 94 %, among four with 88 %, among three with 75 %.
LEAST_FOR_AN_INTERVAL = 6


@dataclass(frozen=True, slots=True)
class PairedRatio:
    """How two arms compare when each pair of runs shares its moment, so that a drifting machine cancels.

    Attributes:
        median: of the pairs' ratios.
        low, high: the bootstrap interval of that median; the least and the most where there are too few for one.
        pairs: how many there are.
    """

    median: float
    low: float
    high: float
    pairs: int

    @property
    def has_interval(self) -> bool:
        """Whether there are enough pairs for one."""
        return self.pairs >= LEAST_FOR_AN_INTERVAL


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value below which a share of them lies, linear between neighbours; None without values.

    Args:
        values: in any order.
        share: 0 to 1.
    """
    ordered = sorted(values)
    return quantile(ordered, share) if ordered else None


def paired_ratio(
    ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> PairedRatio:
    """Median of `ours[i] / theirs[i]` with its percentile bootstrap interval (Efron 1979), or its range of few pairs.

    Args:
        ours: one value per pair, above 0.
        theirs: the other arm's of the same pairs, above 0.
        confidence: of the interval, 0 to 1.
        seed: of the resampling, so that the same runs give the same interval.

    Raises:
        ValueError: if the arms differ in length or are empty.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"found {len(ours)} and {len(theirs)} runs; each pair needs one of both arms")
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    if len(ratios) < LEAST_FOR_AN_INTERVAL:
        return PairedRatio(median(ratios), min(ratios), max(ratios), len(ratios))
    draws = random.Random(seed)
    medians = sorted(median(draws.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    tail = (1 - confidence) / 2
    return PairedRatio(median(ratios), quantile(medians, tail), quantile(medians, 1 - tail), len(ratios))
