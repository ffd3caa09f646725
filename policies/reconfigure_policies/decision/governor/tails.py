"""How close measured latencies come to their limits, as sketches that fade with time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, exp, log, sqrt

from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import RequestRecord

_SMALLEST_SHARE, _GROWTH, _BUCKETS = 0.05, 1.05, 100
_MEMORY_S = 60.0

#: Standard normal deviates by which misses must exceed their allowance before they are not chance.
_SURE = 2.0


class Latency(StrEnum):
    """What the service level may limit."""

    TTFT = "TTFT"
    TPOT = "TPOT"
    E2E = "end-to-end latency"


@dataclass(frozen=True, slots=True)
class LimitTail:
    """Latencies as shares of their limit.

    Attributes:
        counts: by share, in buckets that each span 5 %.
        near: those above the share that is to be kept.
    """

    counts: tuple[float, ...] = (0.0,) * _BUCKETS
    near: float = 0.0

    def after(self, shares: list[float], kept_share: float, kept: float) -> LimitTail:
        """With further latencies; `kept` of the old counts stays."""
        counts = [count * kept for count in self.counts]
        for share in shares:
            bucket = ceil(log(max(share, _SMALLEST_SHARE) / _SMALLEST_SHARE) / log(_GROWTH))
            counts[min(bucket, _BUCKETS - 1)] += 1
        return LimitTail(tuple(counts), self.near * kept + sum(share > kept_share for share in shares))

    @property
    def count(self) -> float:
        """Latencies, faded."""
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The share of the limit that a part `q` of all latencies does not exceed, within 5 %; None of nothing."""
        rank = q * self.count
        if rank <= 0:
            return None
        for bucket, count in enumerate(self.counts):
            rank -= count
            if rank <= 1e-9:
                return _SMALLEST_SHARE * _GROWTH**bucket
        return _SMALLEST_SHARE * _GROWTH ** (_BUCKETS - 1)

    def breaks(self, attainment: float) -> bool:
        """Whether more latencies come near the limit than chance would let at this attainment."""
        allowed = (1 - attainment) * self.count
        return self.near >= 2 and self.near > allowed + _SURE * sqrt(allowed)


@dataclass(frozen=True, slots=True)
class Tails:
    """Tails of the requests that arrived since the last change, over about a minute."""

    ttft: LimitTail = LimitTail()
    tpot: LimitTail = LimitTail()
    e2e_latency: LimitTail = LimitTail()

    def after(
        self, records: list[RequestRecord], slo: ServiceLevelObjective, margin: float, duration_s: float
    ) -> Tails:
        """With the requests that finished in `duration_s`; half of the margin must stay free."""
        kept, limit = exp(-duration_s / _MEMORY_S), 1 - margin / 2
        return replace(
            self,
            ttft=self.ttft.after(_shares([r.ttft_s for r in records], slo.ttft_s), limit, kept),
            tpot=self.tpot.after(_shares([r.tpot_s for r in records], slo.tpot_s), limit, kept),
            e2e_latency=self.e2e_latency.after(
                _shares([r.e2e_latency_s for r in records], slo.e2e_latency_s), limit, kept
            ),
        )

    @property
    def near(self) -> float:
        """Latencies of all kinds that came too near to their limits, faded."""
        return self.ttft.near + self.tpot.near + self.e2e_latency.near

    def broken(self, attainment: float) -> Latency | None:
        """A latency whose limit more requests come near than may; None if there is none."""
        tails = ((Latency.TPOT, self.tpot), (Latency.E2E, self.e2e_latency), (Latency.TTFT, self.ttft))
        return next((latency for latency, tail in tails if tail.breaks(attainment)), None)


def _shares(latencies_s: list[float | None], limit_s: float | None) -> list[float]:
    return [] if limit_s is None else [latency_s / limit_s for latency_s in latencies_s if latency_s is not None]
