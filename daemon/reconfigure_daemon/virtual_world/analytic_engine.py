"""The emulated engine's step times and joules as a step-cost model, so that queueing theory can speak of it.

`steady_state` then says in a tenth of a millisecond what the emulated scheduler takes a second to work out step by
step. How far the two are apart is tested (tests/unit/virtual_world/test_window_model.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconfigure_daemon.emulated_engine.model import EngineModel, model_for
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.step_cost import Setting, StepCostModel
from reconfigure_policies.step_cost.step_energy import EnergyUse, StepEnergyModel
from reconfigure_policies.step_cost.step_time import StepTimeModel

#: What bounds a step where the space does not say; `SchedulerKnobs` has the same.
_CAP, _BUDGET = 256, 8192


@dataclass(frozen=True, slots=True)
class KnownStepTime(StepTimeModel):
    """Step times that need not be learned."""

    engine: EngineModel = field(default_factory=EngineModel)

    def decode_step_s(self, decode_batch: float, kv_tokens: float) -> float:
        """See `StepTimeModel.decode_step_s`."""
        return self.prefill_step_s(0.0, decode_batch, kv_tokens)

    def prefill_step_s(self, prefill_tokens: float, decode_batch: float, kv_tokens: float) -> float:
        """See `StepTimeModel.prefill_step_s`; `EngineModel.step_time_s` for means, which are no whole numbers."""
        engine = self.engine
        compute_s = engine.compute_s_per_token * (prefill_tokens + decode_batch)
        return engine.step_overhead_s + max(engine.weight_read_s, compute_s) + engine.kv_read_s_per_token * kv_tokens

    def decode_error(self, decode_batch: float, kv_tokens: float) -> float:
        """Nothing is uncertain about a model."""
        del decode_batch, kv_tokens
        return 0.0


@dataclass(frozen=True, slots=True)
class KnownStepEnergy(StepEnergyModel):
    """Joules that need not be learned."""

    engine: EngineModel = field(default_factory=EngineModel)

    def energy_of(self, use: EnergyUse) -> float:
        """See `StepEnergyModel.energy_of`; what comes without a rest is dearer, output tokens included."""
        engine = self.engine
        unrested = use.back_to_back_steps / use.steps if use.steps else 0.0
        spent_j = (
            engine.step_energy_base_j * use.steps
            + engine.prefill_energy_j_per_token * use.prefill_tokens
            + engine.decode_energy_j_per_token * use.decode_tokens
        )
        dearer_j = (
            engine.step_energy_base_j * use.back_to_back_steps
            + engine.prefill_energy_j_per_token * use.back_to_back_prefill_tokens
            + engine.decode_energy_j_per_token * use.decode_tokens * unrested
        )
        return engine.idle_power_w * use.duration_s + spent_j + (engine.back_to_back_factor - 1) * dearer_j


def step_costs_of(configuration: Mapping[str, KnobValue], base: EngineModel | None = None) -> StepCostModel:
    """The step-cost model of a deployment under a configuration, of each replica if there are several."""
    engine = model_for(configuration, base)
    return StepCostModel(
        time=KnownStepTime(engine=engine, error=0.0),
        energy=KnownStepEnergy(engine=engine, error=0.0),
        kv_capacity_tokens=engine.kv_capacity_tokens,
    )


def setting_of(configuration: Mapping[str, KnobValue]) -> Setting:
    """The hot knobs that pace and bound its steps, those of each replica by itself."""
    return Setting(
        float(configuration.get("pacing_interval_s", 0.0)),
        int(configuration.get("max_num_seqs", _CAP)),
        int(configuration.get("max_num_batched_tokens", _BUDGET)),
    )
