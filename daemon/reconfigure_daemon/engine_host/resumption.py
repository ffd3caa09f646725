"""How a request says that it has already generated tokens on another core.

The tokens travel in `SamplingParams.extra_args`, which vLLM carries untouched to the scheduler and the workers. The
scheduler appends them as *output*, so penalties, `min_tokens`, `max_tokens`, stop conditions and seeds count as if the
request had never moved; vLLM then computes prompt and output together, as it does after a preemption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

GENERATED = "reconfigure_generated"


def generated_tokens(sampling_params: Any) -> Sequence[int]:
    """Output tokens that a request brings along; empty for a fresh one."""
    extra = getattr(sampling_params, "extra_args", None)
    return extra.get(GENERATED, ()) if extra else ()


def without_generated_tokens(sampling_params: Any) -> Any:
    """A client's own parameters, which bring no tokens along: whatever it sends as `vllm_xargs` is in there as well."""
    extra = getattr(sampling_params, "extra_args", None)
    if extra and GENERATED in extra:
        sampling_params.extra_args = {name: value for name, value in extra.items() if name != GENERATED}
    return sampling_params


def with_generated_tokens(sampling_params: Any, tokens: Sequence[int]) -> Any:
    """A copy of the parameters that brings these output tokens along."""
    resumed = sampling_params.clone()
    resumed.extra_args = {**(resumed.extra_args or {}), GENERATED: list(tokens)}
    return resumed
