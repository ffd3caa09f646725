"""The values in force: cold ones read from the running core's own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconfigure_daemon.engine_host.boot_knobs import WITHIN_JSON, read_back
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, KnobValue, Tier

#: Where vLLM keeps a cold setting once it has resolved it.
READ_BACK = {
    "block_size": "cache_config.block_size",
    "enable_prefix_caching": "cache_config.enable_prefix_caching",
    "kv_cache_dtype": "cache_config.cache_dtype",
    "tensor_parallel_size": "parallel_config.tensor_parallel_size",
    "pipeline_parallel_size": "parallel_config.pipeline_parallel_size",
    "data_parallel_size": "parallel_config.data_parallel_size",
    "enforce_eager": "model_config.enforce_eager",
    "quantization": "model_config.quantization",
}


def cold_enforced(space: ConfigurationSpace, booted: Configuration, config: Any) -> dict[str, KnobValue]:
    """Cold knobs as the core has them; one that vLLM does not show is the value it was booted with."""
    cold = [name for name in booted if name in space and space.knob(name).tier is Tier.COLD]
    return {
        name: read_back(name, config, booted[name])
        if name in WITHIN_JSON
        else _read(config, READ_BACK.get(name), booted[name])
        for name in cold
    }


def hot_part(space: ConfigurationSpace, configuration: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """The hot knobs of a configuration."""
    return {name: value for name, value in configuration.items() if space.knob(name).tier is Tier.HOT}


def _read(config: Any, path: str | None, otherwise: KnobValue) -> KnobValue:
    found = config
    for part in (path or "").split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, (bool, int, float, str)) else otherwise
