"""The one list of vLLM's private names that this room touches, and the guard that names a missing one.

vLLM promises none of them. `check_names` looks each up before anything depends on it, so a vLLM that has moved
one is met with a sentence and the drain-and-restart fallback instead of a failure in mid-switch.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

#: Releases that the engine tests run against. Any other one drains and restarts.
TESTED_VERSIONS = ("0.24.", "0.32.")

#: What the router replaces or calls in the front end, as `module:dotted.name`.
FRONT_END_NAMES = (
    "vllm.v1.engine.core_client:EngineCoreClient.make_async_mp_client",
    "vllm.v1.engine.core_client:AsyncMPClient.add_request_async",
    "vllm.v1.engine.core_client:AsyncMPClient.abort_requests_async",
    "vllm.v1.engine.core_client:AsyncMPClient.get_output_async",
    "vllm.v1.engine.core_client:AsyncMPClient.call_utility_async",
    "vllm.v1.engine.core_client:AsyncMPClient._call_utility_async",
    "vllm.v1.engine.core_client:DPLBAsyncMPClient.get_core_engine_for_request",
    "vllm.v1.engine.output_processor:OutputProcessor.abort_requests",
    "vllm.v1.engine:EngineCoreOutput",
    "vllm.v1.engine:EngineCoreOutputs",
    "vllm.v1.engine:FinishReason.ERROR",
    "vllm.v1.engine.utils:get_mp_context",
    "vllm.v1.engine.coordinator:get_mp_context",
    "vllm.v1.executor:Executor.get_class",
)

#: What the hot scheduler and the core plugin reach for inside a core.
CORE_NAMES = (
    "vllm.v1.core.sched.scheduler:Scheduler.schedule",
    "vllm.v1.core.sched.scheduler:Scheduler.add_request",
    "vllm.v1.core.sched.scheduler:Scheduler.update_from_output",
    "vllm.v1.core.sched.scheduler:Scheduler.get_grammar_bitmask",
    "vllm.v1.core.sched.scheduler:Scheduler.update_draft_token_ids",
    "vllm.v1.core.sched.scheduler:Scheduler.get_request_counts",
    "vllm.v1.core.sched.async_scheduler:AsyncScheduler",
    "vllm.v1.core.sched.interface:PauseState.PAUSED_ALL",
    "vllm.v1.request:Request.append_output_token_ids",
    "vllm.v1.worker.gpu_input_batch:InputBatch.add_request",
    "vllm.v1.engine.core:EngineCore.profile",
    "vllm.v1.engine.core:EngineCoreProc._handle_client_request",
    "vllm.v1.engine:EngineCoreRequestType.UTILITY",
)


class VllmNameMissing(Exception):
    """This vLLM has no such private name.

    Attributes:
        name: `module:dotted.name`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"vLLM {vllm_version() or 'unknown'} has no {name}")


@dataclass(frozen=True, slots=True)
class Support:
    """Whether this vLLM can be switched with its streams alive; `reason` says why not."""

    version: str
    live_switching: bool
    reason: str = ""


def vllm_version() -> str | None:
    """The installed vLLM's version, or None without vLLM."""
    try:
        return str(importlib.import_module("vllm.version").__version__).split("+")[0]
    except ImportError:
        return None


def runs_on_cpu() -> bool:
    """Whether this vLLM computes on the CPU."""
    return bool(resolve("vllm.platforms:current_platform").is_cpu())


def resolve(name: str) -> Any:
    """The object behind `module:dotted.name`.

    Raises:
        VllmNameMissing: if any part of it is gone.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as missing:
        raise VllmNameMissing(name) from missing
    return found


def check_names() -> Support:
    """Look every private name up, and compare the version with those that are tested."""
    version = vllm_version() or "none"
    fallback = "configurations change by drain and restart: requests wait, none is lost"
    if not version.startswith(TESTED_VERSIONS):
        tested = " and ".join(v + "x" for v in TESTED_VERSIONS)
        return Support(version, False, f"vLLM {version} is not among the tested versions ({tested}); {fallback}.")
    try:
        for name in (*FRONT_END_NAMES, *CORE_NAMES):
            resolve(name)
    except VllmNameMissing as missing:
        return Support(version, False, f"{missing}; {fallback}.")
    return Support(version, True)
