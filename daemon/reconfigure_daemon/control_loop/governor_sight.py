"""What the governor sees of the engine: samples of about a second, and what a token costs lately."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from reconfigure_daemon.ports import TelemetryBatch
from reconfigure_policies.decision.governor import EngineReading, EngineSample, sample_between
from reconfigure_policies.domain.workload import RequestRecord

#: Shorter stretches are put together: what arrives within them is mostly chance.
_SHORTEST_SAMPLE_S = 0.9

#: Joules per token are averaged over about this long.
_MEMORY_S = 30.0


class GovernorSight:
    """Puts readings of one core together; `look_away` after each gap.

    Attributes:
        energy: joules and tokens since the governor took charge, fading.
    """

    def __init__(self) -> None:
        self.energy = RecentEnergy()
        self._reading: EngineReading | None = None
        self._records: list[RequestRecord] = []

    def look_away(self) -> None:
        """What happens until the next reading is not seen."""
        self._reading = None

    def sample(self, batch: TelemetryBatch, energy_j: float | None) -> EngineSample | None:
        """What happened since the last sample; None until there is enough of it.

        Args:
            batch: the engine's telemetry now.
            energy_j: joules at the same time, or None where they are not known.
        """
        reading, earlier = EngineReading(batch.totals, batch.steps, energy_j, batch.replicas), self._reading
        self._records = [] if earlier is None else [*self._records, *batch.records]
        if earlier is not None and 0 < reading.totals.at_s - earlier.totals.at_s < _SHORTEST_SAMPLE_S:
            return None
        sample = None if earlier is None else sample_between(earlier, reading, tuple(self._records))
        self._reading, self._records = reading, []
        if sample is not None:
            self.energy = self.energy.after(sample)
        return sample


@dataclass(frozen=True, slots=True)
class RecentEnergy:
    """Joules and output tokens of the last half minute or so, of each replica."""

    energy_j: float = 0.0
    output_tokens: float = 0.0

    def after(self, sample: EngineSample) -> RecentEnergy:
        """With another sample; one without joules says nothing."""
        if sample.energy_j is None:
            return self
        kept = exp(-sample.duration_s / _MEMORY_S)
        return RecentEnergy(kept * self.energy_j + sample.energy_j, kept * self.output_tokens + sample.output_tokens)

    @property
    def per_output_token_j(self) -> float | None:
        """Prefill and idle time included; None before there are tokens."""
        return self.energy_j / self.output_tokens if self.output_tokens >= 1 else None
