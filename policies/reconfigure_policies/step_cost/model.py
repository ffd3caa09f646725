"""The step-cost model of one running core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.step_cost.step_energy import StepEnergyModel
from reconfigure_policies.step_cost.step_time import StepTimeModel


@dataclass(frozen=True, slots=True)
class StepCostModel:
    """Seconds and joules of steps as one core takes them; another core or another GPU needs its own.

    Attributes:
        time, energy: the two fits.
        ttft_overhead_s: time to first token beyond queueing and prefill: the front end, tokenisation, sockets.
        kv_capacity_tokens: context that fits; 0 where it is not known.
    """

    time: StepTimeModel = field(default_factory=StepTimeModel)
    energy: StepEnergyModel = field(default_factory=StepEnergyModel)
    ttft_overhead_s: float = 0.0
    kv_capacity_tokens: float = 0.0

    @property
    def is_learned(self) -> bool:
        """Whether predictions rest on this core's own steps."""
        return self.time.is_learned

    def stretched(self, factor: float) -> StepCostModel:
        """With every step so much longer: the worst that a clock does that is slower by this factor."""
        return replace(self, time=self.time.stretched(factor))

    def learned(self, duration_s: float, steps: StepTotals, energy_j: float | None) -> StepCostModel:
        """The model after one reading interval.

        Args:
            duration_s: its length.
            steps: the steps in it (`StepTotals.since`).
            energy_j: joules of all devices in it, or None if they are not known.
        """
        energy = self.energy.interrupted() if energy_j is None else self.energy.learned(duration_s, steps, energy_j)
        capacity = steps.kv_capacity_tokens or self.kv_capacity_tokens
        return replace(self, time=self.time.learned(steps), energy=energy, kv_capacity_tokens=capacity)

    def with_ttft(self, measured_s: float, predicted_s: float, weight: float) -> StepCostModel:
        """The overhead moved towards what a measured time to first token shows beyond the predicted one.

        Args:
            measured_s: median over some requests.
            predicted_s: the same by this model.
            weight: of the new value, 0 to 1.
        """
        overhead_s = self.ttft_overhead_s + weight * (measured_s - predicted_s)
        return replace(self, ttft_overhead_s=max(0.0, overhead_s))
