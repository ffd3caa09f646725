"""What runs inside every process of a core that the engine host started: utilities, resumed state, an error journal.

vLLM loads it through the `vllm.general_plugins` entry point before a core or a worker is built. It does nothing
in a vLLM that the engine host did not start: the journal's directory in the environment is the sign. Nor does it in the
host itself, where vLLM loads it as well: the host must outlive the controller that started it.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from reconfigure_daemon.engine_host import openmp, vllm_names

JOURNAL_VARIABLE = "RECONFIGURE_CORE_JOURNAL"
PR_SET_PDEATHSIG = 1


def register() -> None:
    """Entry point; harmless to call twice."""
    directory = os.environ.get(JOURNAL_VARIABLE)
    if not directory or multiprocessing.parent_process() is None:
        return
    from reconfigure_daemon.engine_host import resumed_state  # imports torch, which this module's other users do not

    die_with_parent()
    keep_errors(Path(directory))
    keep_errors_of_workers(Path(directory))
    attach_utilities()
    fork_workers_on_cpu()
    resumed_state.restore()


def keep_errors(directory: Path) -> None:
    """Append this process's errors to `DIRECTORY/PID.log`, where the host finds the reason of a failed boot."""
    logger = logging.getLogger("vllm")
    if any(handler.get_name() == JOURNAL_VARIABLE for handler in logger.handlers):
        return
    handler = logging.FileHandler(directory / f"{os.getpid()}.log", delay=True)
    handler.set_name(JOURNAL_VARIABLE)
    handler.setLevel(logging.ERROR)
    logger.addHandler(handler)


def keep_errors_of_workers(directory: Path) -> None:
    """The same in a forked worker, which begins by setting vLLM's logging up anew (0.32) and would lose the journal."""
    from vllm.v1.executor import multiproc_executor

    original = getattr(multiproc_executor, "configure_logging", None)
    if original is None:
        return

    def configure_logging(config: Any) -> None:
        original(config)
        keep_errors(directory)

    multiproc_executor.configure_logging = configure_logging


def attach_utilities() -> None:
    """Give EngineCore the methods that the router calls; a utility call is a method name sent over the socket."""
    from vllm.v1.engine.core import EngineCore

    EngineCore.reconfigure_bind = _bind
    EngineCore.reconfigure_set_knobs = _set_knobs
    EngineCore.reconfigure_read = _read
    EngineCore.reconfigure_memory = _memory


#: Utilities that only touch what the scheduler guards by a lock of its own, and so need not wait for a step's end.
ANSWERED_AT_ONCE = frozenset({"reconfigure_set_knobs", "reconfigure_read"})


def _bind(core: Any) -> None:
    if getattr(core, "reconfigure_bound", False):
        return
    core.reconfigure_bound = True
    core.scheduler.bind_input_queue(core.input_queue)
    answer_at_once(core)


def answer_at_once(core: Any) -> None:
    """Run some utilities in the thread that receives them.

    The core's own thread takes a call only between two steps, and a step that prefills may take hundreds of
    milliseconds; whatever is set meanwhile is in force for the next step either way.
    """
    from vllm.v1.engine import EngineCoreRequestType

    queue_up = core.input_queue.put_nowait

    def answer_or_queue_up(item: tuple[Any, Any]) -> None:
        kind, request = item
        if kind is EngineCoreRequestType.UTILITY and request[2] in ANSWERED_AT_ONCE:
            core._handle_client_request(kind, request)  # noqa: SLF001  # as the core does with every other call
        else:
            queue_up(item)

    core.input_queue.put_nowait = answer_or_queue_up


def _set_knobs(core: Any, changes: dict[str, Any]) -> dict[str, Any]:
    enforced: dict[str, Any] = core.scheduler.set_knobs(changes)
    return enforced


def _read(core: Any) -> dict[str, Any]:
    told: dict[str, Any] = core.scheduler.reading()
    return told


def _memory(core: Any) -> list[dict[str, int]]:
    found: list[dict[str, int]] = core.model_executor.collective_rpc(worker_memory)
    return found


def worker_memory(worker: Any) -> dict[str, int]:
    """Bytes of the worker's device: total, free, held by this worker and of these its weights; empty without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "total": total,
        "free": free,
        "held": torch.cuda.memory_reserved(),
        "weights": int(getattr(getattr(worker, "model_runner", None), "model_memory_usage", 0)),
        "visible": torch.cuda.device_count(),
    }


def fork_workers_on_cpu() -> None:
    """Let a CPU core fork its worker instead of importing everything again in a fresh process.

    vLLM spawns there, since forking a process that has used OpenMP hangs; a core that was itself forked from the
    pre-imported process has not used it yet. On CUDA vLLM forks by itself.
    """
    from vllm.v1.executor import multiproc_executor

    if vllm_names.runs_on_cpu():
        multiproc_executor.get_mp_context = lambda: multiprocessing.get_context("fork")
        openmp.settle_core()


def die_with_parent() -> None:
    """End this process when its parent ends: no core outlives a killed engine host and keeps its memory."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
