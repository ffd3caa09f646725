"""How many GPUs a configuration takes, and in what groups: the three sizes of vLLM's parallelism."""

from __future__ import annotations

from collections.abc import Mapping

from reconfigure_policies.domain.configuration import KnobValue

#: Knobs: GPUs that share each layer, GPUs that share out the layers, and copies of all that.
TENSOR_PARALLEL = "tensor_parallel_size"
PIPELINE_PARALLEL = "pipeline_parallel_size"
DATA_PARALLEL = "data_parallel_size"

#: They multiply to the number of GPUs.
PARALLELISM = (TENSOR_PARALLEL, PIPELINE_PARALLEL, DATA_PARALLEL)


def replicas_of(values: Mapping[str, KnobValue]) -> int:
    """Copies of the model, each with a scheduler and a KV cache of its own."""
    return _size(values, DATA_PARALLEL)


def ranks_of_replica(values: Mapping[str, KnobValue]) -> int:
    """GPUs of one copy of the model."""
    return _size(values, TENSOR_PARALLEL) * _size(values, PIPELINE_PARALLEL)


def gpus_of(values: Mapping[str, KnobValue]) -> int:
    """GPUs of all copies together."""
    return replicas_of(values) * ranks_of_replica(values)


def _size(values: Mapping[str, KnobValue], knob: str) -> int:
    """What is missing, or is no whole number from 1 up, counts as 1."""
    size = values.get(knob)
    return max(1, size) if isinstance(size, int) else 1
