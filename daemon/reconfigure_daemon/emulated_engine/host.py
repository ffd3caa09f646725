"""The emulated engine host: everything `ports.EngineHost` asks for, without an engine."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from reconfigure_daemon import __version__
from reconfigure_daemon.clock import Clock
from reconfigure_daemon.emulated_engine.emulation import BootFailed, Emulation
from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.live_engine import LiveEngine
from reconfigure_daemon.emulated_engine.model import EngineModel, model_for
from reconfigure_daemon.emulated_engine.replicas import EmulatedReplicas
from reconfigure_daemon.emulated_engine.switching import Moved, Switching
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
)
from reconfigure_daemon.settings import HOT_KNOBS, Settings
from reconfigure_policies.domain.configuration import Configuration, KnobValue
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource
from reconfigure_policies.domain.parallelism import replicas_of

_MODES = (SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL, SwitchMode.DRAIN)

_ActionKind = Literal["boot", "hot", "switch", "recover", "stop"]


class EmulatedHost:
    """Implements `ports.EngineHost`. `boot` it, and run `engine.run()` beside it.

    Attributes:
        engine: what generates.
        stopped: set once `stop` has done its work.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        emulation: Emulation | None = None,
        base: EngineModel | None = None,
    ) -> None:
        self._settings = settings
        self._space = settings.engine_space()
        self._clock = clock
        self._emulation = emulation or Emulation()
        self._base = base or EngineModel()
        self.engine = LiveEngine(EmulatedReplicas(self._base, SchedulerKnobs(), clock.monotonic()), clock)
        self.engine.door.clear()  # until the first deployment is up
        self.stopped = asyncio.Event()
        self._host_id = uuid.uuid4().hex[:12]
        self._started_at = clock.wall()
        self._phase = HostPhase.BOOTING
        self._action: ActionState | None = None
        self._deployment: DeploymentState | None = None
        self._target = self._enforced = self._space.default()
        self._last_error: str | None = None

    @property
    def model(self) -> str:
        """The name under which clients ask for it."""
        return "emulated" if self._settings.engine.model == "auto" else self._settings.engine.model

    @property
    def serves(self) -> bool:
        """Whether requests are answered."""
        return self._phase in (HostPhase.SERVING, HostPhase.SWITCHING)

    @property
    def block_size(self) -> int:
        """Tokens of a block of the prefix cache."""
        return int(self._enforced.get("block_size", 16))

    def energy(self) -> EnergyReading:
        """Joules of the model since the start: an estimate by nature."""
        self.engine.catch_up()
        scheduler = self.engine.scheduler
        device = DeviceEnergy("gpu0", EnergySource.ESTIMATED, scheduler.energy_j)
        return EnergyReading(scheduler.now_s, (device,))

    async def boot(self, initial: Mapping[str, KnobValue]) -> None:
        """Bring up the first deployment.

        Raises:
            BootFailed: in the engine's own words.
            ConfigurationOutsideSpace: if the space does not allow the configuration.
        """
        configuration = self._full(initial)
        with self._acting("boot", HostPhase.BOOTING):
            self._target = configuration
            await self._emulation.boot(configuration, self._settings.engine.start_timeout_s, self._clock)
            self.engine.catch_up()
            knobs = SchedulerKnobs().changed(configuration)
            model, replicas = model_for(configuration, self._base), replicas_of(configuration)
            self.engine.scheduler.replace_core(model, knobs, self._clock.monotonic(), replicas)
            self._deployed(configuration, self._emulation.boot_s)
        self._phase = HostPhase.SERVING
        self.engine.door.set()

    # --- ports.EngineHost ---

    async def state(self) -> HostState:
        """See `ports.EngineHost.state`."""
        engine = self._settings.engine
        return HostState(
            host_id=self._host_id,
            pid=os.getpid(),
            started_at=self._started_at,
            engine="emulated",
            engine_version=__version__,
            model=self.model,
            openai_url=f"http://{engine.host}:{engine.port}",
            phase=self._phase,
            deployment=self._deployment,
            target=dict(self._target),
            enforced=self._read_back(),
            action=self._action,
            capabilities=self._capabilities(),
            live_requests=self.engine.live_requests,
            last_error=self._last_error,
        )

    async def set_knobs(self, changes: Mapping[str, KnobValue]) -> HotResult:
        """See `ports.EngineHost.set_knobs`."""
        self._space.check(changes)
        if cold := [name for name in changes if name not in self._capabilities().hot_knobs]:
            raise EngineHostFault(f"{', '.join(cold)} cannot change inside a running core: send a switch")
        started_s = self._clock.monotonic()
        with self._acting("hot", self._phase):
            self.engine.scheduler.set_knobs(self.engine.scheduler.knobs.changed(changes))
            self.engine.woken()
            self._target, self._enforced = self._target.with_changes(changes), self._enforced.with_changes(changes)
        latency_s = self._clock.monotonic() - started_s
        return HotResult(target=dict(self._target), enforced=self._read_back(), latency_s=latency_s)

    async def switch(
        self, request: SwitchRequest, on_progress: Callable[[SwitchProgress], None] | None = None
    ) -> SwitchReport:
        """See `ports.EngineHost.switch`."""
        configuration = self._full(request.configuration)
        SchedulerKnobs().changed(configuration)
        started_s = self._clock.monotonic()
        with self._acting("switch", self._phase if request.dry_run else HostPhase.SWITCHING):
            mode = self._mode(request.mode)
            if request.dry_run:
                return self._report("applied", mode, f"dry run: {mode} switch", started_s, Moved())
            switching = Switching(
                self.engine, self._emulation, self._clock, self._base, lambda step: self._note(step, on_progress)
            )
            self._target = configuration
            try:
                await switching.run(mode, configuration, request.deadline_s)
            except BootFailed as failure:
                self._target, self._last_error = self._enforced, str(failure)
                return self._report("rolled_back", mode, str(failure), started_s, switching.moved)
            self._deployed(configuration, switching.moved.phases_s.get("boot", 0.0))
            return self._report("applied", mode, f"{mode} switch", started_s, switching.moved)

    async def profile(self, seconds: float) -> ProfileTraces:  # the port's
        """See `ports.EngineHost.profile`; there is nothing to record."""
        raise RequestRefused("an emulated engine runs no kernels, so there is nothing to profile; use engine.kind vllm")

    async def telemetry(self, after: int) -> TelemetryBatch:
        """See `ports.EngineHost.telemetry`."""
        self.engine.catch_up()
        records, next_after, dropped = self.engine.records_after(after)
        return TelemetryBatch(
            host_id=self._host_id,
            now_s=self.engine.scheduler.now_s,
            next_after=next_after,
            dropped=dropped,
            records=records,
            totals=self.engine.scheduler.totals(),
            steps=self.engine.scheduler.step_totals(),
            replicas=self.engine.scheduler.replicas,
        )

    async def stop(self, drain_timeout_s: float) -> None:
        """See `ports.EngineHost.stop`."""
        with self._acting("stop", HostPhase.STOPPING):
            self.engine.stop()
            await self.engine.drain(drain_timeout_s)
            self.engine.abort_all()
            self._phase = HostPhase.STOPPING
            self.stopped.set()

    # --- its own ---

    def _full(self, values: Mapping[str, KnobValue]) -> Configuration:
        self._space.check(values)
        return self._space.default().with_changes(values)

    def _capabilities(self) -> Capabilities:
        hot = [name for name in HOT_KNOBS if name in self._space]
        return Capabilities(hot_knobs=hot, exact_replay=True, switch_modes=[mode.value for mode in _MODES])

    def _read_back(self) -> dict[str, KnobValue]:
        """The enforced configuration, hot knobs as the scheduler has them."""
        if self._deployment is None:
            return {}
        knobs = self.engine.scheduler.knobs
        hot = {name: getattr(knobs, name) for name in self._capabilities().hot_knobs}
        return {**self._enforced, **hot}

    def _deployed(self, configuration: Configuration, boot_s: float) -> None:
        number = self._deployment.id + 1 if self._deployment else 1
        self._deployment = DeploymentState(id=number, booted_at=self._clock.wall(), boot_s=boot_s, pids=[os.getpid()])
        self._enforced = configuration
        self.engine.woken()

    def _mode(self, asked: SwitchMode) -> SwitchMode:
        if asked is not SwitchMode.AUTO:
            return asked
        return SwitchMode.OVERLAPPED if self._emulation.room_beside else SwitchMode.SEQUENTIAL

    @contextmanager
    def _acting(self, kind: _ActionKind, phase: HostPhase) -> Iterator[None]:
        if (running := self._action) is not None:
            message = f"a {running.kind} runs (now: {running.phase}); one action at a time, so wait for it to end"
            raise ActionInProgress(running.kind, running.since, message)
        before, self._phase = self._phase, phase
        self._action = ActionState(kind=kind, since=self._clock.wall(), phase=kind)
        try:
            yield
        finally:
            self._action = None
            if not self.stopped.is_set():
                self._phase = before

    def _note(self, step: SwitchProgress, on_progress: Callable[[SwitchProgress], None] | None) -> None:
        if self._action is not None:
            self._action = self._action.model_copy(update={"phase": step.phase, "detail": step.detail})
        if on_progress is not None:
            on_progress(step)

    def _report(
        self, outcome: Literal["applied", "rolled_back"], mode: SwitchMode, detail: str, started_s: float, moved: Moved
    ) -> SwitchReport:
        return SwitchReport(
            outcome=outcome,
            mode=mode,
            detail=detail,
            enforced=self._read_back(),
            duration_s=self._clock.monotonic() - started_s,
            live_requests=moved.live_requests,
            replayed_tokens=moved.replayed_tokens,
            stall_s=moved.stall_s,
            phases_s=moved.phases_s,
        )
