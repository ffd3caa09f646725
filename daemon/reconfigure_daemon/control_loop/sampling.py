"""One sample of the engine: its state, telemetry and joules become windows, metrics and stored history."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.ports import (
    EnergyMeter,
    EngineHost,
    HostPhase,
    HostState,
    Journal,
    LoopMetrics,
    TelemetryBatch,
    WindowSource,
)
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.energy import EnergyReading
from reconfigure_policies.domain.history import Observation
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import IterationTotals, WorkloadWindow

#: Windows that a decision may look at, and changes that a window may have to be judged by.
_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class _Deployed:
    """What must stay the same throughout a window."""

    host_id: str
    deployment_id: int | None
    enforced: Configuration
    steady: bool

    def is_another_core(self, before: _Deployed) -> bool:
        """Whether another core serves than before, or the same one undisturbed again."""
        core, core_before = (self.host_id, self.deployment_id), (before.host_id, before.deployment_id)
        return core != core_before or (self.steady and not before.steady)


class Sampler:
    """Reads the engine and the meter, and remembers the latest of each.

    Attributes:
        state: the engine host as last read; None before the first answer and while nobody answers.
        batch: its telemetry as last read; None where `state` is, and while it boots.
        totals: the engine's counters and gauges as last read.
        energy: the meter as last read.
        windows: complete windows, oldest first, without those that end while the engine is being changed: they say
            nothing of what serves before or after.
    """

    def __init__(
        self,
        *,
        meter: EnergyMeter,
        windows: WindowSource,
        is_observation: Callable[[WorkloadWindow, Sequence[float]], bool],
        settings: Callable[[], Settings],
        journal: Journal,
        metrics: LoopMetrics,
        clock: Clock,
    ) -> None:
        self.state: HostState | None = None
        self.batch: TelemetryBatch | None = None
        self.totals: IterationTotals | None = None
        self.energy: EnergyReading | None = None
        self.windows: deque[WorkloadWindow] = deque(maxlen=_REMEMBERED)
        self._meter = meter
        self._builder = windows
        self._is_observation = is_observation
        self._settings = settings
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._after = 0
        self._deployed: _Deployed | None = None
        self._changes_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._settles_at_s: float | None = None
        self._keeps_windows = True
        self._latest: WorkloadWindow | None = None

    @property
    def slo(self) -> ServiceLevelObjective:
        """What makes a finished request a good one."""
        return self._settings().slo.to_domain()

    @property
    def sees_traffic(self) -> bool:
        """Whether what arrives comes from clients, and not from the daemon itself."""
        return self._keeps_windows

    def use_windows(self, builder: WindowSource) -> None:
        """Cut windows in another way from now on; what is in the making is dropped."""
        builder.core_since_s = self._builder.core_since_s
        self._builder = builder

    def read_energy(self) -> None:
        """Read the meter, with or without an engine."""
        self.energy = self._meter.read()
        self._metrics.observe_energy(self.energy)

    @contextmanager
    def not_learning(self) -> Iterator[None]:
        """While the block runs the load is the daemon's own: its windows are no traffic and are not kept."""
        self._keeps_windows = False
        try:
            yield
        finally:
            self._keeps_windows = True
            self._builder.restart()

    async def sample(self, host: EngineHost) -> HostState:
        """Read the engine once.

        Raises:
            ReconfigureError: if it does not answer, or not as it should; see `lost_sight`.
        """
        state = await host.state()
        if self._deployed is None or state.host_id != self._deployed.host_id:
            self._after = 0
        self._metrics.observe_state(state)
        if state.deployment is None:
            self.state, self.batch = state, None
            return state  # it boots, and has nothing to tell yet
        batch = await host.telemetry(self._after)
        self._after, self.totals, self.state, self.batch = batch.next_after, batch.totals, state, batch
        self._builder.slo = self._settings().slo.to_domain()
        self._metrics.observe_telemetry(batch, self._builder.slo)
        await self._follow_changes(state, batch)
        for window in self._builder.add(batch, self.energy):
            await self._complete(window, state)
        return state

    def saw(self, state: HostState) -> None:
        """The engine's state was read between two samples, so that whoever asks next does not hear an old one."""
        self.state = state

    def lost_sight(self) -> None:
        """The engine did not answer: what was last read of it is no longer shown as its state."""
        self.state = self.batch = None
        self._metrics.observe_state(None)

    @property
    def window(self) -> WorkloadWindow | None:
        """The last complete window, whatever was done to the engine; before the first, the one in the making."""
        return self._latest or self._builder.current()

    async def _follow_changes(self, state: HostState, batch: TelemetryBatch) -> None:
        """No window mixes two configurations, and the first one after a change starts when it has settled."""
        deployed, before = _deployed(state), self._deployed
        if deployed != before:
            if before is not None:
                if deployed.is_another_core(before):
                    self._builder.core_since_s = batch.now_s
                self._changes_s.append(batch.now_s)
                self._settles_at_s = batch.now_s + self._settings().monitoring.settle_s
            self._deployed = deployed
            self._builder.restart()
            await self._journal.record_deployment(state)
        elif self._settles_at_s is not None and batch.now_s >= self._settles_at_s:
            self._settles_at_s = None
            self._builder.restart()

    async def _complete(self, window: WorkloadWindow, state: HostState) -> None:
        if not self._keeps_windows:
            return
        at, configuration = self._clock.wall(), Configuration(state.enforced)
        self._latest = window
        self._metrics.observe_window(window, self._builder.slo)
        await self._journal.record_window(window, configuration, state.host_id, at)
        if state.phase is not HostPhase.SERVING:
            return
        self.windows.append(window)
        if self._is_observation(window, tuple(self._changes_s)):
            await self._journal.record_observation(
                Observation(at, state.host_id, state.engine, state.engine_version, state.model, configuration, window)
            )


def _deployed(state: HostState) -> _Deployed:
    deployment_id = None if state.deployment is None else state.deployment.id
    steady = state.phase is HostPhase.SERVING
    return _Deployed(state.host_id, deployment_id, Configuration(state.enforced), steady)
