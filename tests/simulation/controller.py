"""A controller with everything real but time and the engine: store, loop, policies, metrics, emulated host."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from benchmarks.harness.virtual_time import LoopClock
from reconfigure_daemon.assembly.wiring import Surroundings, build_loop
from reconfigure_daemon.control_loop import new_intent
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.store import Store
from reconfigure_policies.domain.objective import IntentKind

SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [16, 32, 64], "default": 64},
            "pacing_interval_s": {"values": [0, 0.02]},
            "block_size": {"values": [16, 32, 64]},
        },
        "objectives": {"energy": {"max_num_seqs": 16, "block_size": 32}},
    }
)


class InProcessLauncher:
    """Starts emulated hosts in this process; each is found again by the next controller."""

    def __init__(self, settings=SETTINGS, emulation=None, host_class=EmulatedHost):
        self.settings = settings
        self.emulation = emulation or Emulation()
        self.host_class = host_class
        self.clock = LoopClock()
        self.host = None
        self.started = 0
        self._engines = []

    async def adopt_or_start(self, configuration=None):
        return self.host or await self.restart(configuration)

    async def restart(self, configuration):
        self.host = self.host_class(self.settings, self.clock, self.emulation)
        await self.host.boot(configuration)
        self._engines.append(asyncio.create_task(self.host.engine.run()))
        self.started += 1
        return self.host

    async def end(self):
        for engine in self._engines:
            engine.cancel()
        await asyncio.gather(*self._engines, return_exceptions=True)


class Controller:
    """One life of a controller over a store directory and a launcher, which both outlive it."""

    def __init__(self, loop, store, clock):
        self.loop = loop
        self.store = store
        self.clock = clock

    @classmethod
    @asynccontextmanager
    async def running(cls, directory, launcher, settings=SETTINGS, forecaster=None):
        clock = launcher.clock
        store = Store.open(directory, clock)
        meter = HostMeter(launcher)
        in_force = settings if callable(settings) else lambda: settings
        around = Surroundings(in_force, clock, store, meter, Metrics("test"), launcher, forecaster=forecaster)
        loop = await build_loop(around)
        tasks = [
            asyncio.create_task(loop.keeper.run(lambda: loop.target)),
            asyncio.create_task(loop.run(lambda: None)),
        ]
        try:
            yield cls(loop, store, clock)
        finally:
            await loop.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await store.close()

    async def serving(self):
        """Wait until the engine was read and is known."""
        while self.loop.orders.state.target is None or self.loop.sampler.state is None:  # noqa: ASYNC110  # virtual time
            await asyncio.sleep(0.5)

    async def submit(self, kind, source="cli", on_progress=None, **facts):
        return await self.loop.submit(new_intent(self.clock, IntentKind(kind), source, **facts), on_progress)

    async def plan(self, kind, **facts):
        return await self.loop.plan(new_intent(self.clock, IntentKind(kind), "cli", **facts))

    async def history(self):
        """Every decision, oldest first."""
        return (await self.store.decisions(500))[::-1]


class HostMeter:
    """The emulated host's own joules."""

    def __init__(self, launcher):
        self._launcher = launcher
        self._base = EmulatedHost(launcher.settings, launcher.clock)

    def read(self):
        return (self._launcher.host or self._base).energy()

    def close(self):
        pass
