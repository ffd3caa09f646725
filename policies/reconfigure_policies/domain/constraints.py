"""Structural limits of a space: what no engine could serve, known before any boot. Hard filters, never penalties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reconfigure_policies.domain.configuration import KnobValue, format_value
from reconfigure_policies.domain.parallelism import (
    DATA_PARALLEL,
    PARALLELISM,
    PIPELINE_PARALLEL,
    TENSOR_PARALLEL,
    gpus_of,
    ranks_of_replica,
)

#: Bytes of a weight against 16 bit, by the word that a knob's value contains.
_WEIGHT_FACTORS = {"float32": 2.0, "int8": 0.5, "fp8": 0.5, "w8a8": 0.5, "awq": 0.25, "gptq": 0.25, "int4": 0.25}

#: Share of each GPU that vLLM takes unless it is told otherwise.
_USUAL_UTILISATION = 0.9

_GIB = 2**30


class Constraint(Protocol):
    """One limit.

    Attributes:
        key: its place under `constraints` in config.yaml; "" for what always holds.
        knobs: the knobs that it looks at.
    """

    @property
    def key(self) -> str:
        """See the class."""

    @property
    def knobs(self) -> tuple[str, ...]:
        """See the class."""

    def broken_by(self, values: Mapping[str, KnobValue]) -> str | None:
        """Why a full configuration cannot be, with its numbers; None if it can."""


@dataclass(frozen=True, slots=True)
class BudgetHoldsCap:
    """Each running request takes a token of every step, so the budget is at least the running cap."""

    key: str = ""
    knobs: tuple[str, ...] = ("max_num_batched_tokens", "max_num_seqs")

    def broken_by(self, values: Mapping[str, KnobValue]) -> str | None:
        """See `Constraint`."""
        budget, cap = (_number(values, name) for name in self.knobs)
        if budget is None or cap is None or budget >= cap:
            return None
        return f"max_num_batched_tokens={budget:g} is below max_num_seqs={cap:g}, and each request takes a token a step"


@dataclass(frozen=True, slots=True)
class GpusSuffice:
    """Every rank of a core needs a GPU of its own, and every replica as many as the others."""

    gpus: int
    key: str = "gpus"
    knobs: tuple[str, ...] = PARALLELISM

    def broken_by(self, values: Mapping[str, KnobValue]) -> str | None:
        """See `Constraint`."""
        needed = gpus_of(values)
        if needed <= self.gpus:
            return None
        named = [name for name in self.knobs if name in values] if DATA_PARALLEL in values else self.knobs[:2]
        factors = " x ".join(f"{name}={_number(values, name) or 1:g}" for name in named)
        return f"{factors} needs {needed} GPUs, and {self.gpus} may be used"


@dataclass(frozen=True, slots=True)
class HeadsDivide:
    """Tensor parallelism gives each GPU the same number of attention heads."""

    heads: int
    key: str = "attention_heads"
    knobs: tuple[str, ...] = (TENSOR_PARALLEL,)

    def broken_by(self, values: Mapping[str, KnobValue]) -> str | None:
        """See `Constraint`."""
        tensor = int(_number(values, TENSOR_PARALLEL) or 1)
        if self.heads % tensor == 0:
            return None
        return f"{self.heads} attention heads cannot be divided among {TENSOR_PARALLEL}={tensor}"


@dataclass(frozen=True, slots=True)
class WeightsFit:
    """Each GPU holds its share of a replica's weights, and what is fixed for the KV cache, inside what a core may take.

    Attributes:
        weights_gib: of the model in 16 bit.
        gpu_memory_gib: of one GPU.
        utilisation: share of it that a core may take, where the space does not say.
        kv_cache_gib: fixed for the KV cache of each GPU; 0 where it takes what is left.
    """

    weights_gib: float
    gpu_memory_gib: float
    utilisation: float = _USUAL_UTILISATION
    kv_cache_gib: float = 0.0
    key: str = "weights_gib"
    knobs: tuple[str, ...] = (TENSOR_PARALLEL, PIPELINE_PARALLEL, "quantization", "dtype", "gpu_memory_utilization")

    def broken_by(self, values: Mapping[str, KnobValue]) -> str | None:
        """See `Constraint`."""
        share_gib = self.weights_gib * _weight_factor(values) / ranks_of_replica(values)
        utilisation = _number(values, "gpu_memory_utilization") or self.utilisation
        kv_bytes = _number(values, "kv_cache_memory_bytes")
        kv_gib = self.kv_cache_gib if kv_bytes is None else kv_bytes / _GIB
        room_gib = self.gpu_memory_gib * utilisation
        if share_gib + kv_gib <= room_gib:
            return None
        kv = f" and {kv_gib:.3g} GiB of KV cache" if kv_gib else ""
        return (
            f"each GPU would hold {share_gib:.3g} GiB of weights{kv}, and a core may take {room_gib:.3g} of its "
            f"{self.gpu_memory_gib:g} GiB"
        )


@dataclass(frozen=True, slots=True)
class Excluded:
    """A combination that the operator rules out: configurations with all of these values."""

    values: Mapping[str, KnobValue]
    key: str = "exclude"
    knobs: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "knobs", tuple(self.values))

    def broken_by(self, values: Mapping[str, KnobValue]) -> str | None:
        """See `Constraint`."""
        if not all(name in values and values[name] == value for name, value in self.values.items()):
            return None
        combination = " ".join(f"{name}={format_value(value)}" for name, value in self.values.items())
        return f"{combination} is excluded by the settings"


def _weight_factor(values: Mapping[str, KnobValue]) -> float:
    """Bytes of a weight against 16 bit; a quantisation decides before the number type of what is computed."""
    for name in ("quantization", "dtype"):
        word = str(values.get(name, ""))
        for part, factor in _WEIGHT_FACTORS.items():
            if part in word:
                return factor
    return 1.0


def _number(values: Mapping[str, KnobValue], name: str) -> float | None:
    value = values.get(name)
    return None if value is None or isinstance(value, bool | str) else float(value)
