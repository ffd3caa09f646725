"""EngineCores: booted from a pre-imported process, with a deadline, and ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from reconfigure_daemon.engine_host import openmp, shared_memory, vllm_names
from reconfigure_daemon.engine_host.arguments import last_line
from reconfigure_daemon.engine_host.core_plugin import JOURNAL_VARIABLE
from reconfigure_daemon.engine_host.replicas import Gauges
from reconfigure_daemon.errors import EngineHostFault
from reconfigure_policies.domain.configuration import Configuration

_T = TypeVar("_T")
_ALIVE_EVERY_S = 0.25
LONGEST_SOCKET_FOLDER = 60  # a Unix socket's path holds 107 bytes, and vLLM appends a UUID
PRELOADED = ["vllm.v1.engine.core", "vllm.v1.worker.gpu_model_runner", "reconfigure_daemon.engine_host.hot_scheduler"]


class CoreBootFailed(Exception):
    """A core did not come up; the message is vLLM's own last error, or what stopped it."""


@dataclass(eq=False)
class Core:
    """One running EngineCore and the client that speaks to it.

    Attributes:
        id: counts up within a host.
        client: vLLM's `AsyncMPClient`.
        config: its `VllmConfig`, with what the core reported when it was ready.
        configuration: ours.
        booted_at: wall clock.
        boot_s: from the request to ready.
        replicas: of the model in it, each with a process, a scheduler and GPUs of its own.
        heard_s: monotonic time of its latest output.
        gauges: of its replicas, if it has more than one.
        first_answer: the first token of its warm-up; None if it has not been warmed up.
        pids: its processes, the core's own first; none once it was ended.
        shared_memory: names of what they share; none once it was given back.
    """

    id: int
    client: Any
    config: Any
    configuration: Configuration
    booted_at: float
    boot_s: float
    replicas: int = 1
    heard_s: float = field(default_factory=time.monotonic)
    gauges: Gauges = field(default_factory=Gauges)
    reader: asyncio.Task[None] | None = None
    first_answer: int | None = None
    pids: list[int] = field(default_factory=list)
    shared_memory: frozenset[str] = frozenset()

    async def utility(self, method: str, *arguments: Any) -> Any:
        """Call a method of EngineCore in the process of each replica, between two steps; the first one's answer.

        Raises:
            EngineHostFault: as `answer` does.
        """
        return (await self.utility_of_each(method, *arguments))[0]

    async def utility_of_each(self, method: str, *arguments: Any) -> list[Any]:
        """The same with the answers of all replicas, by rank."""
        if self.replicas == 1:
            return [await self.answer(self.client.call_utility_async(method, *arguments))]
        call, engines = self.client._call_utility_async, self.client.core_engines  # noqa: SLF001  # vLLM's: by rank
        return await self.answer(asyncio.gather(*(call(method, *arguments, engine=engine) for engine in engines)))

    def replica_for(self, number: int) -> int:
        """Where the request of this number goes when it comes from another core, and its copies before it."""
        return number % self.replicas

    async def answer(self, call: Awaitable[_T]) -> _T:
        """What the core answers to a call of vLLM's client, which would wait for ever once the core has ended.

        Raises:
            EngineHostFault: if the core ends before it answers.
        """
        answering = asyncio.ensure_future(call)
        try:
            while not (await asyncio.wait({answering}, timeout=_ALIVE_EVERY_S))[0]:
                if self.client.resources.engine_dead:
                    raise EngineHostFault(f"core {self.id} ended before it answered; requests go on in a fresh one.")
            return answering.result()
        finally:
            answering.cancel()


class CoreBooter:
    """Boots cores one at a time."""

    def __init__(self, runtime: Path, log_stats: bool = True) -> None:
        self._journal = runtime / "core-errors"
        self._journal.mkdir(parents=True, exist_ok=True)
        self._log_stats = log_stats
        self._next_id = 1
        os.environ[JOURNAL_VARIABLE] = str(self._journal)
        if vllm_names.runs_on_cpu():
            openmp.set_defaults()
        self._give_vllm_a_socket_folder(runtime / "vllm-sockets")

    @staticmethod
    def _give_vllm_a_socket_folder(folder: Path) -> None:
        """VLLM leaves a socket behind for each core, in /tmp by default: these are cleared when a host starts."""
        shutil.rmtree(folder, ignore_errors=True)
        if len(str(folder)) < LONGEST_SOCKET_FOLDER:
            folder.mkdir(parents=True)
            os.environ["VLLM_RPC_BASE_PATH"] = str(folder)

    def use_preimported_processes(self) -> None:
        """Make vLLM fork its cores from a process that has imported it and nothing else.

        That process never touches CUDA or OpenMP, so forking it is safe, and a boot costs no imports. It
        starts with this process's environment: call this once vLLM's platform has set it up.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        for module in ("vllm.v1.engine.utils", "vllm.v1.engine.coordinator"):  # the latter counts replicas' requests
            vllm_names.resolve(f"{module}:get_mp_context")
            importlib.import_module(module).get_mp_context = lambda: context  # type: ignore[attr-defined]
        from multiprocessing import forkserver

        forkserver.ensure_running()

    async def boot(self, config: Any, configuration: Configuration, deadline_s: float) -> Core:
        """Start a core and wait until it is ready.

        Raises:
            CoreBootFailed: if it ends, or is not ready in time; nothing of it is left behind.
        """
        begun_s, begun_at = time.monotonic(), time.time()
        before = {p.pid for p in multiprocessing.active_children()}
        making = asyncio.ensure_future(asyncio.to_thread(make_client, config, self._log_stats))
        try:
            client = await asyncio.wait_for(asyncio.shield(making), deadline_s)
        except TimeoutError:
            self._kill_new(before)
            with contextlib.suppress(Exception):
                (await making).shutdown(0)
            raise CoreBootFailed(f"the core was not ready after {deadline_s:.0f} s and was stopped") from None
        except asyncio.CancelledError:
            self._kill_new(before)
            raise
        except Exception as failure:
            self._kill_new(before)
            raise CoreBootFailed(self.last_error(begun_at) or last_line(str(failure))) from failure
        pids = pids_of(client)
        core = Core(
            self._next_id, client, config, configuration, time.time(), time.monotonic() - begun_s,
            replicas=config.parallel_config.data_parallel_size, pids=pids,
            shared_memory=await asyncio.to_thread(shared_memory.held_by, pids),
        )  # fmt: skip
        self._next_id += 1
        return core

    def last_error(self, since: float) -> str | None:
        """See `last_error_in`."""
        return last_error_in(self._journal, since)

    def _kill_new(self, before: set[int | None]) -> None:
        new = [p.pid for p in multiprocessing.active_children() if p.pid is not None and p.pid not in before]
        names = shared_memory.held_by(new)
        for pid in new:
            kill_tree(pid)
        shared_memory.remove(names)

    async def retire(self, core: Core, grace_s: float = 0, timeout_s: float = 10) -> None:
        """End a core that serves nobody any more; harmless to call twice.

        Args:
            core: which.
            grace_s: how long it may take to end by itself, before it is killed.
            timeout_s: for vLLM's client to be shut down.
        """
        if core.reader is not None:
            core.reader.cancel()
        pids, core.pids = core.pids, []  # the numbers are the kernel's to give away again
        names, core.shared_memory = core.shared_memory, frozenset()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(core.client.shutdown, grace_s), timeout_s)
        for pid in pids:
            kill_tree(pid)
        threading.Thread(target=release, args=(core.client,), name=f"core-{core.id}-release", daemon=True).start()
        await asyncio.to_thread(shared_memory.remove, names)  # streams of another core go on meanwhile


#: vLLM's own watcher of a core's processes looks at their pipes once a second, until it sees that it is to end.
_LAST_LOOK_S = 2.0

#: The last line of a traceback; an assertion without words is known by the line of code above it.
_ERROR_LINE = re.compile(
    r"^(?P<error>(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt|Exit)\b: .+)$"
    r"|^ +(?P<code>assert .+)\n(?: +[\^~]+\n)?AssertionError$",
    re.MULTILINE,
)
#: Errors that only say that another process had one.
_ECHO = re.compile("for root cause|root cause above|[Ii]nitialization failed")


def last_error_in(journal: Path, since: float) -> str | None:
    """The last error of the process that was the first to end with one since a wall-clock time.

    What other processes say after that, follows from it: a core misses the answer of a worker that has died.
    """
    logs = [p for p in journal.glob("*.log") if p.stat().st_mtime >= since]
    for log in sorted(logs, key=lambda p: p.stat().st_mtime):
        errors = [in_words(found) for found in _ERROR_LINE.finditer(log.read_text(errors="replace"))]
        causes = [error for error in errors if not _ECHO.search(error)]
        if causes:
            return causes[-1][:500]
    return None


def in_words(found: re.Match[str]) -> str:
    """An error of a traceback on one line."""
    return found["error"] or f"AssertionError: {found['code']}"


def make_client(config: Any, log_stats: bool) -> Any:
    """VLLM's client of a new core; blocks until the core is ready."""
    from vllm.v1.executor import Executor

    make = vllm_names.resolve("vllm.v1.engine.core_client:EngineCoreClient.make_async_mp_client")
    return make(vllm_config=config, executor_class=Executor.get_class(config), log_stats=log_stats)


def pids_of(client: Any) -> list[int]:
    """The processes of a client's core, the core's own first; not to be asked of a client that was released."""
    resources = client.resources
    processes = [*getattr(resources.engine_manager, "processes", [])]
    if (coordinator := getattr(resources, "coordinator", None)) is not None:
        processes.append(coordinator.proc)
    return [p.pid for p in processes if p.pid is not None]


def release(client: Any) -> None:
    """Free what a client that was shut down leaves to the garbage collector, which may not come by for days.

    That is its ZeroMQ context, with three threads and seven descriptors, and the pipes of its processes. Blocks for
    some seconds; for ever, if a socket of the client were still open.
    """
    processes = getattr(client.resources.engine_manager, "processes", [])
    if (context := getattr(client.resources, "ctx", None)) is not None:
        context.term()
    time.sleep(_LAST_LOOK_S)
    for process in processes:
        with contextlib.suppress(ValueError):  # it still runs; a pipe is the smaller evil
            process.close()


def kill_tree(pid: int) -> None:
    """End a process and what it started, at once; nothing happens if it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [*root.children(recursive=True), root]:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.send_signal(signal.SIGKILL)
