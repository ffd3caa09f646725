"""The engine host: vLLM's server on the core router, and the commands that the controller gives it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from reconfigure_daemon.engine_host import arguments, memory, profiler
from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core, CoreBooter, CoreBootFailed
from reconfigure_daemon.engine_host.enforcement import cold_enforced, hot_part
from reconfigure_daemon.engine_host.live_requests import Ledger
from reconfigure_daemon.engine_host.overlapped_switch import OverlappedSwitch
from reconfigure_daemon.engine_host.public_paths import DOOR
from reconfigure_daemon.engine_host.recovery import Recovery
from reconfigure_daemon.engine_host.replicas import enforced_by_all
from reconfigure_daemon.engine_host.sequential_switch import SequentialSwitch
from reconfigure_daemon.engine_host.switch import Switch, SwitchPlan, TargetDied, TargetNotSettled
from reconfigure_daemon.engine_host.vllm_names import Support
from reconfigure_daemon.engine_host.warm_up import WarmUpWrong, warm_up
from reconfigure_daemon.errors import ActionInProgress, EngineHostFault, RequestRefused
from reconfigure_daemon.ports import (
    ActionState,
    Capabilities,
    DeploymentState,
    HostPhase,
    HostState,
    HotResult,
    ProfileTraces,
    SwitchMode,
    SwitchProgress,
    SwitchReport,
    SwitchRequest,
    TelemetryBatch,
)  # fmt: skip
from reconfigure_daemon.settings import HOT_KNOBS, Settings
from reconfigure_policies.domain.configuration import Configuration, KnobValue
from reconfigure_policies.domain.steps import StepTotals, steps_of_all

log = logging.getLogger(__name__)

ActionKind = Literal["boot", "hot", "switch", "recover", "profile", "stop"]
_T = TypeVar("_T")
READ_TIMEOUT_S = 0.5


class VllmHost:
    """Implements `ports.EngineHost` over a real vLLM; made once per process."""

    def __init__(self, settings: Settings, runtime: Path, model: str, support: Support) -> None:
        self._settings = settings
        self._space = settings.engine_space()
        self._model = model
        self._support = support
        self._booter = CoreBooter(runtime)
        self.ledger = Ledger()
        self.router: CoreRouter | None = None
        self._recovery = Recovery(settings.switch.core_restarts, settings.switch.core_restart_window_s)
        self._target = Configuration(self._space.default())
        self._enforced_hot: dict[str, KnobValue] = {}
        self._held_by_core = 0
        self._phase = HostPhase.BOOTING
        self._action: ActionState | None = None
        self._started_at = time.time()
        self._host_id = uuid.uuid4().hex[:12]
        self._last_error: str | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- boot ------------------------------------------------------------------------------------------------------

    async def boot_first(self, configuration: Configuration) -> Core:
        """Boot the first core; the router stands on it from then on.

        Raises:
            CoreBootFailed, ConfigurationRefusedByVllm, WarmUpWrong: vLLM's own reason, or what it answered.
        """
        with self._acting("boot", HostPhase.BOOTING):
            config = self._make_config(configuration)
            if self._support.live_switching:
                self._booter.use_preimported_processes()
            core = await self._booter.boot(config, configuration, self._settings.engine.start_timeout_s)
            self._target = configuration
            self.router = CoreRouter(core, self.ledger)
            self.router.on_core_death = self._core_died
            await self._prepare(core)
            await warm_up(self.router, core)
        return core

    def _make_config(self, configuration: Configuration) -> Any:
        live = self._support.live_switching
        line = arguments.command_line(self._settings, configuration, self._model, live)
        return arguments.core_config(arguments.parse(line), live)

    def begin_serving(self) -> None:
        """The HTTP server answers."""
        self._phase = HostPhase.SERVING

    async def _prepare(self, core: Core) -> None:
        """What a core needs before its first request: pacing's wake-up, the hot knobs, the adapters."""
        if self._support.live_switching:
            await core.utility("reconfigure_bind")
            await self._set_hot(core, hot_part(self._space, self._target))
        for lora in list(self.router.loras.values()) if self.router is not None else []:
            await self._load_adapter(core, lora)

    async def _load_adapter(self, core: Core, lora: Any) -> None:
        """Load an adapter into a fresh core; one that no core can have any more holds nothing up, and is forgotten.

        vLLM's endpoint for unloading tells no core, so the adapter may be long out of use and its files gone. If they
        are there and a core of another configuration does not load them, that configuration does not do.
        """
        try:
            await core.answer(core.client.add_lora_async(lora))
        except Exception as failure:
            another = core.configuration != self._router.serving.configuration
            if core.client.resources.engine_dead or (another and Path(lora.lora_path).exists()):  # noqa: ASYNC240
                raise
            log.warning("adapter %s is not loaded again: %s", lora.lora_name, arguments.last_line(str(failure)))
            self._router.loras.pop(lora.lora_int_id, None)

    @property
    def _router(self) -> CoreRouter:
        if self.router is None:
            raise EngineHostFault("the first core is still booting; try again when the phase is `serving`.")
        return self.router

    # --- one action at a time ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _acting(self, kind: ActionKind, phase: HostPhase | None = None) -> Iterator[None]:
        if self._action is not None:
            running = self._action
            raise ActionInProgress(
                running.kind, running.since,
                f"a {running.kind} has been running for {time.time() - running.since:.0f} s (now: {running.phase}); "
                "one action runs at a time, so wait for it to end.",
            )  # fmt: skip
        self._action = ActionState(kind=kind, since=time.time(), phase=kind)
        before, self._phase = self._phase, phase or self._phase
        try:
            yield
        finally:
            self._action = None
            self._phase = before if self._phase == phase else self._phase
            self._recover_if_dead()

    def _recover_if_dead(self) -> None:
        """The serving core may have died while an action ran."""
        failed = self._phase is HostPhase.FAILED
        if self.router is not None and self.router.serving.client.resources.engine_dead and not failed:
            self._recover_soon(self.router.serving)

    def _note_progress(self, progress: SwitchProgress) -> None:
        if self._action is not None:
            self._action = self._action.model_copy(update={"phase": progress.phase, "detail": progress.detail})
        log.debug("%s %s", progress.phase, progress.detail)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def state(self) -> HostState:
        """See `ports.EngineHost.state`."""
        serving = self.router.serving if self.router is not None else None
        await self._read_core(serving)
        return HostState(
            host_id=self._host_id, pid=os.getpid(), started_at=self._started_at, engine="vllm",
            engine_version=self._support.version, model=self._model,
            openai_url=f"http://{self._settings.engine.host}:{self._settings.engine.port}", phase=self._phase,
            deployment=_deployment(serving), target=dict(self._target), enforced=self._enforced(serving),
            action=self._action, capabilities=self.capabilities(),
            live_requests=max(len(self.ledger), self._held_by_core),
            core_restarts=self._recovery.count, lost_requests=self.ledger.lost, last_error=self._last_error,
        )  # fmt: skip

    def capabilities(self) -> Capabilities:
        """What this host can do with its vLLM."""
        live = self._support.live_switching
        modes = [SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL, SwitchMode.DRAIN] if live else [SwitchMode.DRAIN]
        return Capabilities(
            hot_knobs=[name for name in HOT_KNOBS if name in self._space] if live else [],
            exact_replay=live, switch_modes=[m.value for m in modes], reason=self._support.reason,
        )  # fmt: skip

    async def set_knobs(self, changes: Mapping[str, KnobValue]) -> HotResult:
        """See `ports.EngineHost.set_knobs`."""
        self._space.check(changes)
        self._check_all_hot(changes)
        begun_s = time.monotonic()
        with self._acting("hot"):
            await self._set_hot(self._router.serving, changes)
            self._target = self._target.with_changes(changes)
        return HotResult(
            target=dict(self._target), enforced=self._enforced(self._router.serving),
            latency_s=time.monotonic() - begun_s,
        )  # fmt: skip

    async def _set_hot(self, core: Core, changes: Mapping[str, KnobValue]) -> None:
        self._enforced_hot = enforced_by_all(await core.utility_of_each("reconfigure_set_knobs", dict(changes)))

    def _check_all_hot(self, changes: Mapping[str, KnobValue]) -> None:
        hot = self.capabilities().hot_knobs
        cold = [name for name in changes if name not in hot]
        if cold:
            reason = self._support.reason or "they need a new core: send them as a switch."
            raise EngineHostFault(f"{', '.join(cold)} cannot change inside the running core: {reason}")

    async def switch(
        self, request: SwitchRequest, on_progress: Callable[[SwitchProgress], None] | None = None
    ) -> SwitchReport:
        """See `ports.EngineHost.switch`. Goes on when the caller goes away."""
        configuration = self._space.default().with_changes(request.configuration)
        self._space.check(configuration)
        switching = self._switch(request, configuration, on_progress or (lambda _: None))
        return await asyncio.shield(self._kept(switching))

    async def _switch(
        self, request: SwitchRequest, configuration: Configuration, on_progress: Callable[[SwitchProgress], None]
    ) -> SwitchReport:
        begun_s, before = time.monotonic(), self._target
        router = self._router

        def report(progress: SwitchProgress) -> None:
            self._note_progress(progress)
            on_progress(progress)

        with self._acting("switch", HostPhase.SWITCHING):
            mode, why = await self._choose_mode(request.mode, configuration)
            if request.dry_run:
                return self._report("applied", mode, f"dry run: {mode.value}, {why}.", begun_s, None)
            self._target = configuration
            plan = SwitchPlan(
                configuration, self._make_config, mode, time.monotonic() + request.deadline_s, request.inexact,
                self._prepare, bool(self._settings.engine.arguments.get("reasoning_parser")),
            )  # fmt: skip
            kind = OverlappedSwitch if mode is SwitchMode.OVERLAPPED else SequentialSwitch
            switch = kind(router, self._booter, plan, report)
            outcome: Literal["applied", "rolled_back"] = "applied"
            try:
                await switch.run()
                detail = f"{mode.value}, {why}."
            except Exception as failure:
                if not isinstance(failure, _TARGET_FAILURES):
                    log.exception("the switch failed in a way that has no name")
                outcome, self._target = "rolled_back", before
                self._last_error = arguments.last_line(str(failure)) or type(failure).__name__
                detail = f"The target did not do ({mode.value}): {self._last_error}"
                await self._prepare_again()
            return self._report(outcome, mode, detail, begun_s, switch)

    async def _prepare_again(self) -> None:
        """The old core keeps its hot knobs; after a sequential way back a fresh one gets them."""
        with contextlib.suppress(Exception):
            await self._prepare(self._router.serving)

    async def _choose_mode(self, asked: SwitchMode, target: Configuration) -> tuple[SwitchMode, str]:
        if not self._support.live_switching:
            return SwitchMode.DRAIN, self._support.reason
        try:
            room = await memory.room_beside(self._router.serving, target)
        except memory.TooFewGpus as refusal:
            raise RequestRefused(str(refusal)) from refusal
        if asked is not SwitchMode.AUTO:
            return asked, "as asked"
        return (SwitchMode.OVERLAPPED if room.enough else SwitchMode.SEQUENTIAL), str(room)

    def _report(
        self, outcome: Literal["applied", "rolled_back"], mode: SwitchMode, detail: str, begun_s: float,
        switch: Switch | None,
    ) -> SwitchReport:  # fmt: skip
        record = switch.record if switch is not None else None
        return SwitchReport(
            outcome=outcome, mode=mode, detail=detail, enforced=self._enforced(self._router.serving),
            duration_s=round(time.monotonic() - begun_s, 4),
            live_requests=record.live_requests if record else len(self.ledger),
            replayed_tokens=record.replayed_tokens if record else 0,
            inexact_requests=record.inexact_requests if record else 0,
            stall_s=_p50_p95_max(record.stalls_s) if record else [],
            phases_s=record.phases_s if record else {},
        )  # fmt: skip

    async def telemetry(self, after: int) -> TelemetryBatch:
        """See `ports.EngineHost.telemetry`."""
        serving = self.router.serving if self.router is not None else None
        steps = await self._read_core(serving)
        records, next_after, dropped = self.ledger.records_after(after)
        return TelemetryBatch(
            host_id=self._host_id, now_s=time.monotonic(), next_after=next_after, dropped=dropped,
            records=records, totals=self.ledger.totals(), steps=steps,
            replicas=serving.replicas if serving is not None else 1,
        )  # fmt: skip

    async def profile(self, seconds: float) -> ProfileTraces:
        """See `ports.EngineHost.profile`. Goes on when the caller goes away."""
        core = self._router.serving
        return await asyncio.shield(self._kept(self._profile(core, profiler.trace_folder(core.config), seconds)))

    async def _profile(self, core: Core, folder: Path, seconds: float) -> ProfileTraces:
        with self._acting("profile"):  # nothing changes meanwhile: it is a profile of one configuration
            return await profiler.record(core, folder, seconds)

    def _kept(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self, drain_timeout_s: float) -> None:
        """See `ports.EngineHost.stop`: new requests are turned away, live ones end, then vLLM's own shutdown."""
        self._phase = HostPhase.STOPPING
        DOOR.close()
        await self.ledger.until(lambda: len(self.ledger) == 0, drain_timeout_s)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)  # answer the caller first

    # --- what is in force --------------------------------------------------------------------------------------------

    async def _read_core(self, core: Core | None) -> StepTotals | None:
        """Take a core's requests and the hot knobs it enforces; returns its step sums, None when it could not be read.

        A core holds requests whose clients have gone for a moment longer than the ledger does.
        """
        self._held_by_core = 0
        if core is None or not self._support.live_switching or self._phase is not HostPhase.SERVING:
            return None
        with contextlib.suppress(Exception):  # a core in trouble: the last reading of the knobs stands
            each = await asyncio.wait_for(core.utility_of_each("reconfigure_read"), READ_TIMEOUT_S)
            self._enforced_hot = enforced_by_all([read["enforced"] for read in each])
            self._held_by_core = sum(read["running"] + read["waiting"] for read in each)
            return steps_of_all(_STEP_TOTALS.validate_python(read["steps"]) for read in each)
        return None

    def _enforced(self, core: Core | None) -> dict[str, KnobValue]:
        if core is None:
            return {}
        hot = {name: value for name, value in self._enforced_hot.items() if name in self._space}
        if not self._support.live_switching:
            hot = hot_part(self._space, core.configuration)
        return {**cold_enforced(self._space, core.configuration, core.config), **hot}

    # --- a core that dies --------------------------------------------------------------------------------------------

    def _core_died(self, core: Core, death: Exception) -> None:
        self._last_error = self._booter.last_error(time.time() - 60) or f"the core ended: {type(death).__name__}"
        log.error("core %d died: %s; %d live requests", core.id, self._last_error, len(self.ledger))
        if self._action is None:
            self._recover_soon(core)

    def _recover_soon(self, core: Core) -> None:
        task = asyncio.ensure_future(self._recover(core))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _recover(self, dead: Core) -> None:
        with self._acting("recover", HostPhase.RECOVERING):
            try:
                await self._recovery.run(self._router, self._booter, dead, self._make_config, self._prepare)
            except CoreBootFailed as failure:
                self._last_error, self._phase = str(failure), HostPhase.FAILED
                log.error("no core can be had any more: %s", failure)  # one line; the cause is in it
                self._router.give_up(failure)
            except Exception:
                log.exception("the fresh core did not take over")  # another one follows
                fresh = self._router.serving
                if not fresh.client.resources.engine_dead:
                    self._router.detach(fresh)
                    await self._booter.retire(fresh)


_STEP_TOTALS = TypeAdapter(StepTotals)
_TARGET_FAILURES = (
    CoreBootFailed, WarmUpWrong, TargetDied, TargetNotSettled, arguments.ConfigurationRefusedByVllm, TimeoutError,
)  # fmt: skip


def _deployment(core: Core | None) -> DeploymentState | None:
    if core is None:
        return None
    return DeploymentState(id=core.id, booted_at=core.booted_at, boot_s=core.boot_s, pids=core.pids)


def _p50_p95_max(values: list[float]) -> list[float]:
    if not values:
        return []
    ordered = sorted(values)
    return [round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 4) for q in (0.5, 0.95)] + [
        round(ordered[-1], 4)
    ]
