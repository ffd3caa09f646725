"""A cold switch of the emulated engine, with the phases, the deadline and the way back of a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.emulated_engine.emulation import BootFailed, Emulation
from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.live_engine import LiveEngine
from reconfigure_daemon.emulated_engine.model import EngineModel, model_for
from reconfigure_daemon.ports import SwitchMode, SwitchProgress
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.pacing import beside_a_boot_s
from reconfigure_policies.domain.parallelism import replicas_of


@dataclass(slots=True)
class Moved:
    """What was moved to the new deployment, and how long it stood still."""

    live_requests: int = 0
    replayed_tokens: int = 0
    stall_s: list[float] = field(default_factory=list)
    phases_s: dict[str, float] = field(default_factory=dict)


class Switching:
    """One switch; made for each."""

    def __init__(
        self,
        engine: LiveEngine,
        emulation: Emulation,
        clock: Clock,
        base: EngineModel,
        on_progress: Callable[[SwitchProgress], None],
    ) -> None:
        self.moved = Moved()
        self._engine = engine
        self._emulation = emulation
        self._clock = clock
        self._base = base
        self._on_progress = on_progress
        self._started_s = clock.monotonic()
        self._phase_started_s = self._started_s
        self._phase: str | None = None

    async def run(self, mode: SwitchMode, configuration: Mapping[str, KnobValue], deadline_s: float) -> None:
        """Move to a configuration, whose knobs are obeyed afterwards.

        Raises:
            BootFailed: if it did not come up; the old deployment serves on.
        """
        knobs = SchedulerKnobs().changed(configuration)
        try:
            match mode:
                case SwitchMode.SEQUENTIAL:
                    await self._sequential(configuration, knobs, deadline_s)
                case SwitchMode.DRAIN:
                    await self._drained(configuration, knobs, deadline_s)
                case _:
                    await self._overlapped(configuration, knobs, deadline_s)
            self._enter("retire")
        finally:
            self._close_phase()
            self._engine.woken()

    async def _overlapped(
        self, configuration: Mapping[str, KnobValue], knobs: SchedulerKnobs, deadline_s: float
    ) -> None:
        """Two deployments share devices, at half the pace until the new one is up.

        Then nothing is paced until the tokens of all streams are computed anew.
        """
        scheduler, factor = self._engine.scheduler, self._emulation.beside_factor
        own, own_knobs = scheduler.model, scheduler.knobs
        interval_s = beside_a_boot_s(own_knobs.pacing_interval_s)
        self._go_on_as(own.slowed(factor), own_knobs.changed({"pacing_interval_s": interval_s}))
        try:
            await self._boot(configuration, deadline_s)
        except BaseException:
            self._go_on_as(own, own_knobs)
            raise
        self._enter("pre_copy")
        model, replicas = model_for(configuration, self._base), replicas_of(configuration)
        slowed, unpaced = model.slowed(factor), knobs.changed({"pacing_interval_s": 0.0})
        self._cut(slowed, unpaced, replicas, self._emulation.stall_s(self._engine.live_requests))
        try:  # replicas compute their shares at the same time
            await self._clock.sleep(self.moved.replayed_tokens * slowed.compute_s_per_token / replicas)
        finally:
            self._go_on_as(model, knobs)

    def _go_on_as(self, model: EngineModel, knobs: SchedulerKnobs) -> None:
        """From the next step on; nothing is moved."""
        self._engine.catch_up()
        self._engine.scheduler.model = model
        self._engine.scheduler.set_knobs(knobs)
        self._engine.woken()

    async def _sequential(
        self, configuration: Mapping[str, KnobValue], knobs: SchedulerKnobs, deadline_s: float
    ) -> None:
        """Streams stand still from here until a deployment is up again, the new one or the old."""
        held_s = self._clock.monotonic()
        self._engine.catch_up()
        self._engine.scheduler.hold(inf)
        try:
            await self._boot(configuration, deadline_s)
        except BootFailed:
            self._enter("roll_back", "booting the old deployment again")
            await self._clock.sleep(self._emulation.boot_s)
            self._engine.catch_up()
            self._engine.scheduler.hold(self._clock.monotonic())
            raise
        model, replicas = model_for(configuration, self._base), replicas_of(configuration)
        self._cut(model, knobs, replicas, 0.0, stood_still_s=self._clock.monotonic() - held_s)

    async def _drained(self, configuration: Mapping[str, KnobValue], knobs: SchedulerKnobs, deadline_s: float) -> None:
        """New requests wait at the door; live ones end."""
        self._enter("drain", f"{self._engine.live_requests} live requests")
        self._engine.door.clear()
        try:
            if not await self._engine.drain(deadline_s):
                raise BootFailed(f"{self._engine.live_requests} requests had not ended after {deadline_s:g} s")
            elapsed_s = self._clock.monotonic() - self._started_s
            await self._boot(configuration, deadline_s - elapsed_s)
            self._cut(model_for(configuration, self._base), knobs, replicas_of(configuration), 0.0)
        finally:
            self._engine.door.set()

    async def _boot(self, configuration: Mapping[str, KnobValue], deadline_s: float) -> None:
        self._enter("boot")
        started_s = self._clock.monotonic()
        try:
            await self._emulation.boot(configuration, max(0.0, deadline_s), self._clock)
        finally:
            booted_s = self._clock.monotonic() - started_s
            boot_power_w = self._engine.scheduler.model.boot_power_w * replicas_of(configuration)
            self._engine.scheduler.spend_energy(boot_power_w * booted_s)

    def _cut(
        self, model: EngineModel, knobs: SchedulerKnobs, replicas: int, stall_s: float, stood_still_s: float = 0.0
    ) -> None:
        self._enter("move")
        self._engine.catch_up()
        live_requests = self._engine.live_requests
        resume_s = self._clock.monotonic() + stall_s
        self.moved.replayed_tokens = self._engine.scheduler.replace_core(model, knobs, resume_s, replicas)
        self.moved.live_requests = live_requests
        self.moved.stall_s = [stall_s + stood_still_s] * 3 if live_requests else []

    def _enter(self, phase: str, detail: str = "") -> None:
        self._close_phase()
        self._phase, self._phase_started_s = phase, self._clock.monotonic()
        self._on_progress(SwitchProgress(phase=phase, elapsed_s=self._phase_started_s - self._started_s, detail=detail))

    def _close_phase(self) -> None:
        if self._phase is not None:
            self.moved.phases_s[self._phase] = self._clock.monotonic() - self._phase_started_s
            self._phase = None
