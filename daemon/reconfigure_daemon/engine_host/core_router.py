"""Stands where `AsyncLLM.engine_core` stands, over one or more EngineCores, and can move requests between them.

vLLM's front end sees one engine core that never dies. Outputs of all cores are merged into one queue in the order
in which the ledger notes them, so at any instant the ledger is exactly what the front end has got or will get before
anything that is said later. A request can therefore be moved at any instant, without pausing anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.live_requests import Ledger, LiveRequest
from reconfigure_daemon.engine_host.replay import resumed_request
from reconfigure_daemon.engine_host.resumption import without_generated_tokens
from reconfigure_policies.domain.workload import FinishReason

log = logging.getLogger(__name__)

#: A request that is with this many cores when they die, and gets no output in between, is taken to be what kills them.
#: Not two: one that waits for its turn may see as many, and `switch.core_restarts` allows three by default.
DEATHS_OF_A_CULPRIT = 3


class CoreRouter:
    """vLLM's engine-core client to its front end; attributes it does not have are the serving core's.

    A call that is passed on like that fails as `Core.answer` does, should the core end before it answers.
    """

    def __init__(self, core: Core, ledger: Ledger) -> None:
        self.ledger = ledger
        self.serving = core
        self.loras: dict[int, Any] = {}
        self.resources = SimpleNamespace(engine_dead=False)  # what AsyncLLM.errored reads
        self.engine_ranks_managed = [0]  # whose metrics vLLM's front end shows
        self.on_core_death: Callable[[Core, Exception], None] | None = None
        self.on_client_left: Callable[[str], None] | None = None  # drops a request in the front end, by its id
        self._admitting = asyncio.Event()
        self._admitting.set()
        self._merged: asyncio.Queue[Any] = asyncio.Queue()
        self._private: dict[str, PrivateRequest] = {}
        self._closing = False
        self._attached: dict[int, Core] = {}
        self.attach(core)

    def __getattr__(self, name: str) -> Any:
        core: Core = self.__dict__["serving"]
        found = getattr(core.client, name)
        if not name.endswith("_async"):
            return found

        async def answered(*arguments: Any, **named: Any) -> Any:
            return await core.answer(found(*arguments, **named))

        return answered

    # --- what vLLM's front end calls -----------------------------------------------------------------------------

    async def get_output_async(self) -> Any:
        """The next outputs of any core."""
        outputs = await self._merged.get()
        if isinstance(outputs, Exception):
            raise outputs
        return outputs

    async def add_request_async(self, request: Any) -> None:
        """Admit a request; waits while a cut is under way.

        VLLM's front end does not clean up after a client that leaves before this returns, so it is done here.
        """
        without_generated_tokens(request.sampling_params)
        try:
            if not self._admitting.is_set():
                await self._admitting.wait()
            await self._admit(request)
        except asyncio.CancelledError:
            if self.on_client_left is not None:
                self.on_client_left(request.request_id)
            await self.abort_requests_async([request.request_id])
            raise

    async def _admit(self, request: Any) -> None:
        core = self.serving
        live = self.ledger.admit(request, core.id, core.replicas)
        request.data_parallel_rank = live.replica
        try:
            await core.client.add_request_async(request)
        except Exception:
            if not self._is_dying(core):
                raise  # otherwise the request is in the ledger, and recovery brings it into the next core

    def _is_dying(self, core: Core) -> bool:
        return bool(core.client.resources.engine_dead) and self.on_core_death is not None

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        """Forget requests that the client or the front end gave up, wherever they run."""
        aborted = []
        for request_id in request_ids:
            live = self.ledger.get(request_id)
            if live is not None:
                params = live.request.sampling_params
                stopped = bool(getattr(params, "stop", None)) and bool(live.generated)  # the front end found the string
                self.ledger.finish(request_id, FinishReason.STOP if stopped else FinishReason.ABORT)
                aborted.append((live.core, request_id))
        await self._abort_on_cores(aborted)

    async def add_lora_async(self, lora_request: Any) -> bool:
        """Load an adapter, and remember it for the cores to come."""
        core = self.serving
        loaded = bool(await core.answer(core.client.add_lora_async(lora_request)))
        self.loras[lora_request.lora_int_id] = lora_request
        return loaded

    async def remove_lora_async(self, lora_id: int) -> bool:
        """Unload an adapter."""
        self.loras.pop(lora_id, None)
        core = self.serving
        return bool(await core.answer(core.client.remove_lora_async(lora_id)))

    def shutdown(self, timeout: float | None = None) -> None:
        """End every core; called by vLLM from a thread when the server stops."""
        self._closing = True
        for core in self.cores():
            core.client.shutdown(timeout)

    # --- what a switch calls -------------------------------------------------------------------------------------

    def cores(self) -> list[Core]:
        """Every attached core."""
        return list(self._attached.values())

    def attach(self, core: Core) -> None:
        """Begin to take a core's outputs."""
        self._attached[core.id] = core
        core.reader = asyncio.create_task(self._read(core), name=f"core-{core.id}-outputs")

    def detach(self, core: Core) -> None:
        """Stop taking a core's outputs."""
        self._attached.pop(core.id, None)
        if core.reader is not None:
            core.reader.cancel()

    async def _read(self, core: Core) -> None:
        try:
            while True:
                self._take(core, await core.client.get_output_async())
        except asyncio.CancelledError:
            raise
        except Exception as death:  # noqa: BLE001  # whatever ends the outputs, the core is lost
            for request in [r for r in self._private.values() if r.core is core]:
                request.fail(death)
            if core is self.serving and not self._closing:
                self._serving_core_died(core, death)

    def _serving_core_died(self, core: Core, death: Exception) -> None:
        self._attached.pop(core.id, None)
        if self.on_core_death is not None:
            self.on_core_death(core, death)
            self._count_death(core)
        else:
            self.give_up(death)

    def give_up(self, reason: Exception) -> None:
        """No core can be had any more: every live request gets vLLM's engine-dead error."""
        for live in self.ledger:
            self.ledger.finish(live.request.request_id, FinishReason.ERROR)
        self.resources.engine_dead = True
        self._merged.put_nowait(reason)
        self._admitting.set()

    def _take(self, core: Core, outputs: Any) -> None:
        core.heard_s = time.monotonic()
        if self._private:
            outputs.outputs = [o for o in outputs.outputs if not self._take_private(o)]
        if outputs.outputs:
            outputs.outputs = self.ledger.take(outputs.outputs, core.id)
        if core is not self.serving:
            outputs.scheduler_stats = None  # one engine's gauges, not two mixed
        elif outputs.scheduler_stats is not None:
            if core.replicas > 1:
                core.gauges.complete(outputs.engine_index, outputs.scheduler_stats, core.replicas)
            self.ledger.note_scheduler(outputs.scheduler_stats)
        outputs.engine_index = 0  # the front end knows one engine, however many replicas there are
        if outputs.outputs or outputs.scheduler_stats is not None:
            self._merged.put_nowait(outputs)

    def _take_private(self, output: Any) -> bool:
        request = self._private.get(output.request_id)
        if request is not None:
            request.take(output)
            if request.done.done():
                del self._private[output.request_id]
        return request is not None

    async def run_private(self, core: Core, requests: Iterable[Any]) -> list[PrivateRequest]:
        """Run requests on a core without the front end's knowledge; returns when all have finished.

        Raises:
            Exception: what ended the core, if it died meanwhile.
        """
        running = [PrivateRequest(core, request) for request in requests]
        try:
            for private in running:
                self._private[private.request.request_id] = private
                await core.client.add_request_async(private.request)
            await asyncio.gather(*(private.done for private in running))
        except BaseException:
            for private in running:
                self._private.pop(private.request.request_id, None)
                private.done.cancel()
            raise
        return running

    def stop_admitting(self) -> None:
        """Let newcomers wait inside the host."""
        self._admitting.clear()

    def admit_again(self) -> None:
        """Let newcomers in, those that waited first."""
        self._admitting.set()

    async def move(self, requests: Iterable[LiveRequest], target: Core) -> int:
        """Submit live requests to another core, each where it stands; returns the tokens sent.

        If the target does not take one, none of those that were sent to it runs on the core that it left either: what
        that core said meanwhile was dropped, so that a request can only go on by being submitted once more.
        """
        tokens = 0
        left_behind: list[tuple[int, str]] = []
        try:
            for live in requests:
                if self.ledger.get(live.request.request_id) is not live:
                    continue  # aborted while we moved the others
                left_behind.append((live.core, live.request.request_id))
                live.core, live.replica = target.id, target.replica_for(live.number)
                live.replays += 1
                live.moved_s = live.last_output_s if live.last_output_s is not None else time.monotonic()
                await target.client.add_request_async(resumed_request(live))
                tokens += live.tokens
        finally:
            await self._abort_on_cores(left_behind)
        return tokens

    def _count_death(self, core: Core) -> None:
        """Note it of each request that the core ran, and fail those that are taken to be what kills cores.

        Only generations: vLLM's front end has no form for an embedding or a streaming session that failed.
        """
        for live in self.ledger:
            if live.core != core.id:
                continue
            live.deaths += 1
            session = getattr(live.request, "resumable", False)
            if live.deaths >= DEATHS_OF_A_CULPRIT and live.request.sampling_params is not None and not session:
                log.error("request %s was with %d cores that died; it fails", live.request.request_id, live.deaths)
                self._fail(live)

    def _fail(self, live: LiveRequest) -> None:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
        from vllm.v1.engine import FinishReason as VllmFinishReason

        failed = EngineCoreOutput(live.request.request_id, [], finish_reason=VllmFinishReason.ERROR)  # status 500
        self.ledger.finish(live.request.request_id, FinishReason.ERROR)
        self._merged.put_nowait(EngineCoreOutputs(outputs=[failed]))

    async def _abort_on_cores(self, requests: Iterable[tuple[int, str]]) -> None:
        requests = list(requests)
        for core in self.cores():
            mine = [request_id for core_id, request_id in requests if core_id == core.id]
            with contextlib.suppress(Exception):  # a core that is gone needs no abort
                await core.client.abort_requests_async(mine)


class PrivateRequest:
    """A request of the router's own: a warm-up or a pre-copy."""

    def __init__(self, core: Core, request: Any) -> None:
        self.core = core
        self.request = request
        self.tokens: list[int] = []
        self.logprobs: list[Any] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, output: Any) -> None:
        """Note what it generated."""
        self.tokens.extend(output.new_token_ids)
        if output.new_logprobs is not None:
            self.logprobs.append(output.new_logprobs)
        if output.finish_reason is not None and not self.done.done():
            self.done.set_result(None)

    def fail(self, reason: Exception) -> None:
        """Its core died."""
        if not self.done.done():
            self.done.set_exception(reason)
