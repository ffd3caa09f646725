"""The daemon's tasks, its signals, and its two ways to end."""

from __future__ import annotations

import asyncio
import logging

from reconfigure_daemon.actuation import host_log
from reconfigure_daemon.actuation.launcher import ProcessLauncher
from reconfigure_daemon.assembly.live_settings import LiveSettings
from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop import ControlLoop
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.ports import HostPhase
from reconfigure_daemon.store import Store
from reconfigure_daemon.supervision import GuardedTask, Notifier, Shutdown, StopCause, run_guarded
from reconfigure_daemon.tuning import Tuning

log = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 3600.0
_LOG_INTERVAL_S = 60.0


class Daemon:
    """Runs the loop beside its engine host until a signal."""

    def __init__(
        self,
        settings: LiveSettings,
        clock: Clock,
        loop: ControlLoop,
        store: Store,
        metrics: Metrics,
        launcher: ProcessLauncher,
        notifier: Notifier,
        meter_notices: tuple[str, ...],
        tuning: Tuning,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._loop = loop
        self._store = store
        self._metrics = metrics
        self._launcher = launcher
        self._notifier = notifier
        self._meter_notices = meter_notices
        self._tuning = tuning
        self._shutdown = Shutdown()
        self._status = ""
        self._announced: str | None = None

    def notices(self) -> list[str]:
        """What an operator should know, from every room."""
        state = self._loop.sampler.state
        engine = [state.capabilities.reason] if state is not None and state.capabilities.reason else []
        off = [] if state is None else [f"{name} is off: {reason}" for name, reason in state.off_knobs.items()]
        return [*self._store.notices, *self._meter_notices, *engine, *off]

    async def run(self) -> None:
        """Run until a signal asks for the end.

        Raises:
            EssentialTaskDied: if the engine cannot be started or the loop keeps failing.
        """
        self._shutdown.listen(asyncio.get_running_loop(), self._reload)
        tasks = asyncio.create_task(run_guarded(self._tasks(), self._clock))
        requested = asyncio.create_task(self._shutdown.requested())
        self._notifier.ready()
        try:
            await asyncio.wait({tasks, requested}, return_when=asyncio.FIRST_COMPLETED)
            if tasks.done():
                await tasks  # raises: guarded tasks end only by failing
        finally:
            self._notifier.stopping()
            for task in (tasks, requested):
                task.cancel()
            await asyncio.gather(tasks, requested, return_exceptions=True)
        await self._leave(await self._shutdown.requested())

    def _tasks(self) -> list[GuardedTask]:
        return [
            GuardedTask("engine", lambda: self._loop.keeper.run(lambda: self._loop.target), essential=True),
            GuardedTask("control loop", lambda: self._loop.run(self._ticked), essential=True),
            GuardedTask("store sweep", self._sweep),
            GuardedTask("engine host's log", self._keep_the_log_short),
            GuardedTask("tuning", self._tuning.run),
        ]

    async def _sweep(self) -> None:
        while True:
            await self._store.sweep()
            await self._clock.sleep(_SWEEP_INTERVAL_S)

    async def _keep_the_log_short(self) -> None:
        while True:
            if await asyncio.to_thread(host_log.shorten, self._launcher.log_file):
                log.info("%s had grown long and was set aside", self._launcher.log_file)
            await self._clock.sleep(_LOG_INTERVAL_S)

    def _ticked(self) -> None:
        """Signs of life and of state after each tick."""
        self._notifier.watchdog()
        standing = self._loop.orders.state
        self._metrics.observe_controller(standing.objective, standing.paused, self._store.degraded is not None)
        state = self._loop.sampler.state
        if state is not None and state.phase is HostPhase.SERVING and state.host_id != self._announced:
            self._announced = state.host_id
            log.info("clients are served at %s/v1 with %s", state.openai_url, state.model)
        status = self._loop.keeper.error or (f"{state.phase}: {self._loop.target}" if state else "")
        if status != self._status:
            self._status = status
            self._notifier.status(status)

    def _reload(self) -> None:
        self._notifier.reloading()
        self._settings.reload()
        self._notifier.ready()

    async def _leave(self, cause: StopCause) -> None:
        """SIGTERM upgrades or restarts a controller; Ctrl-C means everything that was started with it."""
        if cause is StopCause.TERMINATED:
            log.info("SIGTERM: the controller ends; the engine host serves on and is adopted at the next start")
            return
        log.info(
            "Ctrl-C: the engine host ends too, as soon as its live requests have finished, within %g s; press Ctrl-C "
            "again not to wait for it",
            self._settings().engine.drain_timeout_s,
        )
        stop = asyncio.create_task(self._launcher.stop())
        impatient = asyncio.create_task(self._shutdown.impatient())
        await asyncio.wait({stop, impatient}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            log.warning("not waiting: the engine host goes on until its live requests have finished, then ends")
        for task in (stop, impatient):
            task.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        await asyncio.gather(stop, return_exceptions=not stop.done())
