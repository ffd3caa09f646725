"""The engine that the GPU benchmarks share: the shape of Mistral 7B with random weights, as served by each arm."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.gpu.random_model import write_random_model
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.machine import gpus_to_use
from benchmarks.harness.processes import ServerProcess, free_port
from benchmarks.harness.stock import SERVER, STOP_TIMEOUT_S, healthy
from reconfigure_daemon.load_generation.target import Target
from reconfigure_policies.domain.parallelism import DATA_PARALLEL, TENSOR_PARALLEL

SERVED_NAME = "mistral-7b-shape"
EMULATED_NAME = "emulated"
VOCABULARY = 32_000

ENVIRON = {
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}

#: Arguments that every arm has alike: less than half of the card, so that two servers stand on it, and a given KV
#: cache, so that a boot does not measure the memory that the other server holds.
SHARED: Mapping[str, Any] = {
    "load_format": "dummy",
    "max_model_len": 16384,
    "gpu_memory_utilization": 0.4,
    "kv_cache_memory_bytes": 36 * 2**30,
    "served_model_name": SERVED_NAME,
}

#: Arguments where short requests are measured in many configurations: two cores of one fit on the card side by side.
SHORT_REQUESTS: Mapping[str, Any] = {
    **SHARED,
    "max_model_len": 4096,
    "gpu_memory_utilization": 0.45,
    "kv_cache_memory_bytes": 16 * 2**30,
}

#: What a stock `vllm serve` enforces, as one configuration of the daemon's space, but for its cap: that is 1024 on a
#: card of 70 GiB or more, which only a full queue comes near.
FASTEST: Mapping[str, Any] = {
    "pacing_interval_s": 0,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "block_size": 16,
    "long_prefill_token_threshold": 0,
}


#: What vLLM does without these arguments, as a space names it.
DEFAULTS: Mapping[str, Any] = {
    "kv_cache_dtype": "auto",
    "quantization": "none",
    "cudagraph_mode": "FULL_AND_PIECEWISE",
    TENSOR_PARALLEL: 1,
    DATA_PARALLEL: 1,
}

#: All of a model that can be.
FP8: Mapping[str, Any] = {"quantization": "fp8", "kv_cache_dtype": "fp8"}

#: Those that a command line may give to one arm.
NAMEABLE = ("kv_cache_dtype", "quantization", "cudagraph_mode")


def use_environment() -> None:
    """Give both servers, which inherit it, the same environment; what is set already stays."""
    for name, value in ENVIRON.items():
        os.environ.setdefault(name, value)


def model_folder(engine: str, folder: Path) -> str:
    """The model to serve: random weights for vLLM, whatever it likes for the emulated engine.

    Raises:
        GpusMissing: if vLLM would have to serve it without a GPU.
    """
    if engine == "vllm":
        gpus_to_use(1, least=1)
    return str(write_random_model(folder / "model")) if engine == "vllm" else "auto"


def engine_changes(
    pacing: Sequence[float] = (0,),
    caps: Sequence[int] = (64, 128, 256),
    block_size: int = 16,
    sections: Mapping[str, Any] | None = None,
    further: Mapping[str, Any] | None = None,
    of_objective: str = "throughput",
) -> dict[str, Any]:
    """Changes to the shipped `config.yaml`: this engine, a space around the stock setting, and further sections.

    Args:
        pacing: intervals of the space.
        caps: running caps of the space, the largest last.
        block_size: of the objectives.
        sections: of the settings.
        further: knobs beyond these with their values for one objective; the others leave them at vLLM's default.
        of_objective: that one.
    """
    fastest = {**FASTEST, "max_num_seqs": caps[-1], "block_size": block_size}
    beyond = dict(further or {})
    objectives = {name: dict(fastest) for name in ("energy", "throughput", "balanced")}
    objectives[of_objective] |= beyond
    return {
        "engine": {"arguments": dict(SHARED)},
        "space": {
            **{name: {"values": [DEFAULTS[name], value]} for name, value in beyond.items()},
            "pacing_interval_s": {"values": sorted(pacing), "default": 0},
            "block_size": {"values": sorted({16, 32, block_size}), "default": block_size},
            "max_num_seqs": {"values": list(caps), "default": caps[-1]},
            "max_num_batched_tokens": {"values": [512, 1024, 2048, 4096, 8192], "default": 8192},
        },
        "objectives": objectives,
        "start_objective": "energy",
        **(sections or {}),
    }


@asynccontextmanager
async def stock_arm(
    engine: str, model: str, folder: Path, further: Mapping[str, Any] | None = None
) -> AsyncIterator[str]:
    """Plain `vllm serve` with the same arguments, yielding its address; emulated, an ungoverned daemon stands in.

    Args:
        engine: `vllm` or `emulated`.
        model: as `engine.model`.
        folder: for its log.
        further: arguments beyond the shared ones, or in their place.

    Raises:
        ServerFailed: if it does not serve, with its last words.
    """
    if engine == "emulated":
        knobs = {name: value for name, value in (further or {}).items() if name in DEFAULTS}
        changes = engine_changes(further=knobs, of_objective="energy")
        async with Daemon(engine, model, changes) as ungoverned:
            yield ungoverned.engine_url
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    line = ["--model", model, "--port", str(port), *words({**SHARED, **(further or {})})]
    server = ServerProcess([sys.executable, "-m", SERVER, *line], folder / "stock.log", {}, folder)
    try:
        await healthy(server, url)
        yield url
    finally:
        await asyncio.to_thread(server.end, signal.SIGTERM, STOP_TIMEOUT_S)


def target_of(engine: str, url: str, seed: int, keep_output: bool = False) -> Target:
    """A server as the load generator sees it; another seed brings other prompts."""
    name = SERVED_NAME if engine == "vllm" else EMULATED_NAME
    return Target(url, name, seed=seed, vocab_size=VOCABULARY, keep_output=keep_output)


def add_further_option(parser: argparse.ArgumentParser, whose: str) -> None:
    """`--with KNOB=VALUE ...`, read by `further_of`."""
    parser.add_argument("--with", nargs="*", default=[], type=_knob_with_value, metavar="KNOB=VALUE",
                        help=f"for {whose}: {', '.join(NAMEABLE)}")  # fmt: skip


def further_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Knobs and values that `--with` named."""
    return dict(pair.split("=", 1) for pair in getattr(arguments, "with"))


def with_further(name: str, arguments: argparse.Namespace) -> str:
    """A result's name with what `--with` allows behind it: `fp8` for weights and KV cache together, or every knob."""
    further = further_of(arguments)
    if further == FP8:
        return f"{name}_fp8"
    return "_".join([name, *(f"{knob}_{value}" for knob, value in sorted(further.items()))])


def further_in_words(arguments: argparse.Namespace) -> str:
    """The same for a note; empty without any."""
    return " and ".join(getattr(arguments, "with"))


def _knob_with_value(text: str) -> str:
    """Refuses, with argparse's own words around it, what `engine_changes` would not know."""
    name, _, value = text.partition("=")
    if name not in NAMEABLE or not value:
        raise argparse.ArgumentTypeError(f"{text!r}: name {' or '.join(f'{known}=VALUE' for known in NAMEABLE)}")
    return text


def words(arguments: Mapping[str, Any]) -> list[str]:
    """Command-line words of vLLM's arguments."""
    return [word for name, value in arguments.items() for word in (f"--{name.replace('_', '-')}", str(value))]
