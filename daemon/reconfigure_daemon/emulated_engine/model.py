"""How long a step takes and what it costs: a model of a GPU that decodes, never a measurement.

The defaults are shaped after a 7-billion-parameter model (32 layers, 8 key-value heads of 128) in bfloat16 on one
H200: 4.8 ms for a step of few tokens, 121 W idle, about 570 W under the conversations of Azure's trace. Mean power
under that trace, unpaced and at five paces, lies within a tenth of what was measured there
(benchmarks/results/gpu.pacing.json, tests/unit/emulated_engine/test_model.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconfigure_policies.domain.configuration import KnobValue


@dataclass(frozen=True, slots=True)
class EngineModel:
    """Step time and energy of one deployment, of each of its replicas where it has several.

    Attributes:
        step_overhead_s: scheduling, launches and sampling, whatever the batch.
        weight_read_s: reading all weights once; a step is never shorter than this and the overhead.
        compute_s_per_token: arithmetic of one token; it hides behind the weights until a few hundred tokens.
        kv_read_s_per_token: attention over one token of context.
        step_energy_base_j: energy above idle of a step, whatever its batch.
        prefill_energy_j_per_token: energy above idle that each prompt token adds; steps of a few thousand are over
            before the card throttles, and cost more than the card's sustained rate suggests.
        decode_energy_j_per_token: likewise of an output token, with attention over some 1,300 tokens of context.
        back_to_back_factor: how much dearer a step is when no rest came before it.
        idle_power_w: all devices of it, doing nothing.
        boot_power_w: above idle while a deployment boots.
        kv_capacity_tokens: tokens of context that fit.
    """

    step_overhead_s: float = 0.0008
    weight_read_s: float = 0.0039
    compute_s_per_token: float = 15e-6
    kv_read_s_per_token: float = 40e-9
    step_energy_base_j: float = 1.6
    prefill_energy_j_per_token: float = 20e-3
    decode_energy_j_per_token: float = 25e-3
    back_to_back_factor: float = 1.0
    idle_power_w: float = 121.0
    boot_power_w: float = 80.0
    kv_capacity_tokens: int = 800_000

    def step_time_s(self, prefill_tokens: int, decode_batch: int, kv_tokens: int) -> float:
        """Seconds of a step.

        Args:
            prefill_tokens: prompt tokens computed in it.
            decode_batch: requests that get one output token each.
            kv_tokens: context that its attention reads.
        """
        return self.batch_time_s(prefill_tokens, decode_batch) + self.kv_read_s_per_token * kv_tokens

    def batch_time_s(self, prefill_tokens: int, decode_batch: int) -> float:
        """The part of `step_time_s` that does not depend on the context."""
        compute_s = self.compute_s_per_token * (prefill_tokens + decode_batch)
        return self.step_overhead_s + max(self.weight_read_s, compute_s)

    def slowed(self, factor: float) -> EngineModel:
        """The same deployment with another one at work on its devices: every step takes so many times as long."""
        return replace(
            self,
            step_overhead_s=self.step_overhead_s * factor,
            weight_read_s=self.weight_read_s * factor,
            compute_s_per_token=self.compute_s_per_token * factor,
            kv_read_s_per_token=self.kv_read_s_per_token * factor,
        )

    def step_energy_j(self, prefill_tokens: int, decode_batch: int, rested: bool) -> float:
        """Joules above idle of a step; `rested` says that the GPU was idle just before it."""
        energy_j = (
            self.step_energy_base_j
            + self.prefill_energy_j_per_token * prefill_tokens
            + self.decode_energy_j_per_token * decode_batch
        )
        return energy_j if rested else energy_j * self.back_to_back_factor


#: Part of the ideal speed-up that is lost to communication for each doubling of the tensor-parallel size.
_PARALLEL_LOSS = 0.17
_ALL_REDUCE_S = 0.0006

#: What a GPU's share of a step costs beyond its share of the work: it is kept busy for the whole step.
_PARALLEL_ENERGY_SHARE = 0.3


def model_for(configuration: Mapping[str, KnobValue], base: EngineModel | None = None) -> EngineModel:
    """The model of a deployment under a configuration, of each replica if there are several.

    `tensor_parallel_size` divides work and multiplies devices; an 8-bit `kv_cache_dtype` halves the context's bytes;
    `enforce_eager` pays for every kernel launch. Knobs that are not named here change nothing.
    """
    model = base or EngineModel()
    if "8" in str(configuration.get("kv_cache_dtype", "auto")):
        model = replace(
            model,
            kv_read_s_per_token=model.kv_read_s_per_token / 2,
            kv_capacity_tokens=model.kv_capacity_tokens * 2,
        )
    if configuration.get("enforce_eager") is True:
        model = replace(model, step_overhead_s=model.step_overhead_s + 0.004)
    gpus = int(configuration.get("tensor_parallel_size", 1))
    return model if gpus == 1 else _parallel(model, gpus)


def _parallel(model: EngineModel, gpus: int) -> EngineModel:
    doublings = gpus.bit_length() - 1
    speed_up = gpus * (1 - _PARALLEL_LOSS) ** doublings
    energy_factor = 1 + _PARALLEL_ENERGY_SHARE * (gpus - 1)
    return replace(
        model,
        step_overhead_s=model.step_overhead_s + _ALL_REDUCE_S * doublings,
        weight_read_s=model.weight_read_s / speed_up,
        compute_s_per_token=model.compute_s_per_token / speed_up,
        kv_read_s_per_token=model.kv_read_s_per_token / gpus,
        step_energy_base_j=model.step_energy_base_j * energy_factor,
        idle_power_w=model.idle_power_w * gpus,
        boot_power_w=model.boot_power_w * gpus,
        kv_capacity_tokens=model.kv_capacity_tokens * gpus,
    )
