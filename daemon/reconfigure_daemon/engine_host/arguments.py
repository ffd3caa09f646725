"""From settings and a configuration to vLLM's own arguments, parsed and judged by vLLM's own parser."""

from __future__ import annotations

import importlib
import inspect
import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconfigure_daemon.engine_host.boot_knobs import WITHIN_JSON, json_arguments
from reconfigure_daemon.engine_host.public_paths import MIDDLEWARE
from reconfigure_daemon.engine_host.small_model import NAME as SMALL_MODEL
from reconfigure_daemon.engine_host.vllm_names import runs_on_cpu
from reconfigure_daemon.errors import EngineUnavailable
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import ConfigurationSpace, KnobValue, Tier

SCHEDULER = "reconfigure_daemon.engine_host.hot_scheduler"
NO_QUANTIZATION = "none"  # as written in a space; vLLM wants the argument left out
BOOTED_AT_MAXIMUM = ("max_num_seqs", "max_num_batched_tokens")


class ConfigurationRefusedByVllm(Exception):
    """vLLM's own check refused a configuration; the message is vLLM's."""


def command_line(
    settings: Settings, configuration: Mapping[str, KnobValue], model: str, live_switching: bool = True
) -> list[str]:
    """The arguments of `vllm serve` for a configuration.

    With live switching the hot maxima are those of the space, so that hot moves stay inside them; without it they
    are the configuration's own, since nothing can move them afterwards.
    """
    engine = settings.engine
    space = settings.configuration_space()
    cold = cold_values(space, configuration)
    given: dict[str, Any] = {
        "shutdown_timeout": int(engine.drain_timeout_s),
        **defaults(engine.model),
        **(without_image_cache() if live_switching else {}),
        **(profiler(settings.paths.runtime / "profiles") if engine.profiler else {}),
        **engine.arguments,
        **{name: value for name, value in cold.items() if name not in WITHIN_JSON},
        **json_arguments(cold, engine.arguments),
        **(boot_maxima(space) if live_switching else boot_values(configuration)),
    }
    line = ["--model", model, "--host", engine.host, "--port", str(engine.port)]
    for name, value in given.items():
        line += _argument(name, value)
    return [*line, "--middleware", MIDDLEWARE]


def defaults(model: str) -> dict[str, Any]:
    """Arguments that hold unless the settings say otherwise.

    Without a GPU vLLM's compiler is left out: with it a core boots for a minute instead of seconds, and 0.32.0 then
    answered nonsense where the same model, uncompiled, answered well (bfloat16, AMD EPYC, plain vLLM as well).
    """
    name = {"served_model_name": SMALL_MODEL} if model == "auto" else {}  # rather than the cache's long path
    return {**name, **({"enforce_eager": True} if runs_on_cpu() else {})}


def without_image_cache() -> dict[str, Any]:
    """VLLM's front end then sends a repeated image whole, as a core that is not the first one needs it.

    With the cache it notes what the core has, and would send a later core, whose cache is empty, only an image's name:
    the request fails. A model without images ignores the argument (0.24, 0.32).
    """
    return {"mm_processor_cache_gb": 0}


def profiler(folder: Path) -> dict[str, Any]:
    """Torch's profiler, ready to be started; only the workers' own time, and in the form that is written fastest."""
    config = {
        "profiler": "torch",
        "torch_profiler_dir": str(folder),
        "torch_profiler_with_stack": False,
        "torch_profiler_use_gzip": False,
        "torch_profiler_dump_cuda_time_total": False,
        "ignore_frontend": True,
    }
    return {"profiler_config": json.dumps(config)}


def cold_values(space: ConfigurationSpace, configuration: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """The part of a configuration that a core is booted with, but for `quantization` where it is none."""
    return {
        name: value
        for name, value in configuration.items()
        if space.knob(name).tier is Tier.COLD and (name, value) != ("quantization", NO_QUANTIZATION)
    }


def boot_maxima(space: ConfigurationSpace) -> dict[str, KnobValue]:
    """What a core boots with so that every hot value of the space lies inside it."""
    return {name: space.maximum(name) for name in BOOTED_AT_MAXIMUM if name in space}


def boot_values(configuration: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """Hot settings that vLLM also knows at boot, with the configuration's values."""
    known = (*BOOTED_AT_MAXIMUM, "long_prefill_token_threshold")
    return {name: configuration[name] for name in known if name in configuration}


def _argument(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{name.replace('_', '-')}"]
    return [flag, *map(str, value)] if isinstance(value, list) else [flag, str(value)]


def parse(line: list[str]) -> Namespace:
    """What vLLM's parser makes of a command line.

    Raises:
        ConfigurationRefusedByVllm: with vLLM's words, if it does not accept it.
    """
    argparse_utils = _first_module("vllm.utils.argparse_utils", "vllm.utils")
    cli_args = _first_module("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
    parser = cli_args.make_arg_parser(argparse_utils.FlexibleArgumentParser())

    def refuse(message: str) -> None:
        raise ConfigurationRefusedByVllm(message)

    parser.error = refuse
    arguments: Namespace = parser.parse_args(line)
    cli_args.validate_parsed_serve_args(arguments)
    return arguments


def core_config(arguments: Namespace, live_switching: bool) -> Any:
    """The `VllmConfig` of a core; with live switching its scheduler is the hot one.

    Raises:
        ConfigurationRefusedByVllm: if vLLM finds the settings inconsistent or the model unusable.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    try:
        config = AsyncEngineArgs.from_cli_args(arguments).create_engine_config(UsageContext.OPENAI_API_SERVER)
    except (ValueError, TypeError, NotImplementedError, OSError, RuntimeError) as refused:
        raise ConfigurationRefusedByVllm(last_line(str(refused))) from refused
    if live_switching:
        if config.parallel_config.data_parallel_size > 1 and config.model_config.is_moe:
            raise ConfigurationRefusedByVllm(
                "data_parallel_size above 1 needs a dense model: the replicas of a mixture of experts step together, "
                "and the pace of one would stop the others"
            )
        kind = "HotAsyncScheduler" if config.scheduler_config.async_scheduling else "HotScheduler"
        config.scheduler_config.scheduler_cls = f"{SCHEDULER}.{kind}"
    return config


def api_server() -> Any:
    """The module with vLLM's `run_server`, wherever this version keeps it."""
    return _first_module("vllm.entrypoints.launchers.api_server.entry", "vllm.entrypoints.openai.api_server")


def open_socket(arguments: Namespace) -> tuple[str, Any]:
    """Bind vLLM's address before anything is booted, by vLLM's own rules; returns the address and the socket."""
    set_up = api_server().setup_server
    one_server = {"reuse_port": False} if "reuse_port" in inspect.signature(set_up).parameters else {}
    bound: tuple[str, Any] = set_up(arguments, **one_server)
    return bound


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), text)


def _first_module(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise EngineUnavailable(f"this vLLM has none of {', '.join(names)}; install a tested version with `make setup`.")
