"""Joules of steps and of waiting, learned from the energy of stretches of a few seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp

from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.step_cost.least_squares import Observations, Regression, Vector
from reconfigure_policies.step_cost.step_time import running_error

#: Energy counters move every 100 ms; over this long their coarse edges matter less than 3 %.
_STRETCH_S = 4.0

#: Seconds after which a stretch counts for a third. What a step costs hardly changes while a core lives.
_MEMORY_S = 3600.0

#: First beliefs, in the order of `EnergyUse`, and what a stretch usually holds of each, divided by its joules. They
#: say which share is whose until pace and load have changed once, and weigh as little as a hundredth of a stretch.
_USUAL, _STRENGTH = (4e-3, 0.3, 15.0, 4.0, 5e3, 0.3, 15.0), 0.01
_FIRST = Regression.starting_from((100.0, 1.0, 2e-3, 2e-3, 0.0, 0.0, 0.0), _USUAL, _STRENGTH)


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """What costs joules, summed over a stretch, or rates of it: then the joules are watts.

    Attributes:
        duration_s: all of the time: idle power and what every second costs.
        steps: the weights are read once in each.
        prefill_tokens, decode_tokens, kv_tokens: see `StepTotals`.
        back_to_back_steps, back_to_back_prefill_tokens: what came without a rest before it, which is dearer.
    """

    duration_s: float = 0.0
    steps: float = 0.0
    prefill_tokens: float = 0.0
    decode_tokens: float = 0.0
    kv_tokens: float = 0.0
    back_to_back_steps: float = 0.0
    back_to_back_prefill_tokens: float = 0.0

    def plus(self, duration_s: float, steps: StepTotals) -> EnergyUse:
        """With another stretch added."""
        return EnergyUse(
            self.duration_s + duration_s,
            self.steps + steps.steps,
            self.prefill_tokens + steps.prefill_tokens,
            self.decode_tokens + steps.decode_tokens,
            self.kv_tokens + steps.kv_tokens,
            self.back_to_back_steps + steps.back_to_back_steps,
            self.back_to_back_prefill_tokens + steps.back_to_back_prefill_tokens,
        )

    @property
    def features(self) -> Vector:
        """As the fit takes them."""
        return (
            self.duration_s,
            self.steps,
            self.prefill_tokens,
            self.decode_tokens,
            self.kv_tokens,
            self.back_to_back_steps,
            self.back_to_back_prefill_tokens,
        )


@dataclass(frozen=True, slots=True)
class StepEnergyModel:
    """Joules as a sum over `EnergyUse`; every stretch counts by its relative error, idle ones as much as busy ones.

    Attributes:
        fit: joules by `EnergyUse.features`.
        error: running mean of |predicted - measured| / measured over stretches, each predicted before it was
            learned; None before the second.
        use, energy_j: of the stretch in the making.
    """

    fit: Regression = _FIRST
    error: float | None = None
    use: EnergyUse = EnergyUse()
    energy_j: float = 0.0

    @property
    def is_learned(self) -> bool:
        """Whether enough stretches were seen for a total to be trusted, if not yet its shares."""
        return self.fit.count >= 3

    def learned(self, duration_s: float, steps: StepTotals, energy_j: float) -> StepEnergyModel:
        """The model after one reading interval."""
        use, joules = self.use.plus(duration_s, steps), self.energy_j + energy_j
        if use.duration_s < _STRETCH_S or joules <= 0:
            return replace(self, use=use, energy_j=joules)
        relative = tuple(value / joules for value in use.features)
        gram = tuple(tuple(a * b for b in relative) for a in relative)
        fit = self.fit.learned(Observations(gram, relative, 1.0, 1.0), exp(-use.duration_s / _MEMORY_S))
        error = running_error(self.error, self.fit.predict(relative)) if self.fit.count else None
        return StepEnergyModel(fit, error)

    def as_first_belief(self) -> StepEnergyModel:
        """A model that has learned nothing, and takes this one's shares for its own until it has: of another clock."""
        return StepEnergyModel(Regression.starting_from(self.fit.coefficients, _USUAL, _STRENGTH))

    def interrupted(self) -> StepEnergyModel:
        """Without the stretch in the making, since part of it was not measured."""
        return StepEnergyModel(self.fit, self.error)

    def energy_of(self, use: EnergyUse) -> float:
        """Joules of a stretch, or watts of rates."""
        return self.fit.predict(use.features)
