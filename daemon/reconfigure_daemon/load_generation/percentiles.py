"""Exact percentiles of values that are all kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict


class LatencySummary(BaseModel):
    """Quantiles of one latency in seconds; None everywhere but `count` without a value."""

    model_config = ConfigDict(frozen=True)

    count: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Iterable[float]) -> LatencySummary:
        """Summarise values in any order."""
        ordered = sorted(values)
        if not ordered:
            return cls(count=0)
        return cls(
            count=len(ordered),
            mean=math.fsum(ordered) / len(ordered),
            p50=quantile(ordered, 0.5),
            p90=quantile(ordered, 0.9),
            p95=quantile(ordered, 0.95),
            p99=quantile(ordered, 0.99),
            max=ordered[-1],
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of them lies, linear between neighbours (Hyndman and Fan's type 7, as NumPy's).

    Args:
        ordered: ascending, at least one.
        share: 0 to 1.
    """
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
