"""The control API over real HTTP on loopback, in front of a controller with an emulated engine in this process."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from reconfigure_daemon.control_api import Controller, Learned, serve
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.learning import Learning
from reconfigure_daemon.ports import Served, TuningRecord
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.settings.model import MeteringSettings
from reconfigure_daemon.store import SqliteTrials
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from tests.known_surrogates import known_methods
from tests.simulation import controller as simulated

QUICK = simulated.SETTINGS.model_copy(update={"metering": MeteringSettings(interval_s=0.01)})


def _with_schedules(schedules):
    return Settings.model_validate({**QUICK.model_dump(mode="json", exclude_unset=True), "schedules": schedules})


class Api:
    """A client of one running API."""

    def __init__(self, session, controller, launcher):
        self.session = session
        self.controller = controller
        self.launcher = launcher

    async def get(self, path, **options):
        async with self.session.get(path, **options) as answer:
            return answer.status, await answer.json()

    async def post(self, body, path="/v1/intents", **options):
        data = body if isinstance(body, bytes) else None
        json = None if isinstance(body, bytes) else body
        async with self.session.post(path, data=data, json=json, **options) as answer:
            return answer.status, await answer.json()


@pytest.fixture
def running_api(tmp_path):
    """Starts an API; `serving=False` does not wait for the engine."""

    @asynccontextmanager
    async def run(token=None, emulation=None, serving=True, schedules=None, read_profiles=None):
        settings = QUICK if schedules is None else _with_schedules(schedules)
        launcher = simulated.InProcessLauncher(emulation=emulation or Emulation(boot_s=0))
        async with simulated.Controller.running(tmp_path, launcher, settings) as controller:
            metrics = Metrics("test")
            trials = controller.trials = SqliteTrials(controller.store)
            controller.session = TuningRecord("s", 1.0, {}, WorkloadContext(4, 512, 128), Configuration())
            state = controller.loop.sampler
            learning = Learning(
                lambda: settings,
                controller.clock,
                trials,
                metrics,
                lambda: Served("emulated", "1", state.state.model, "emulated") if state.state else None,
                known_methods()[0],
            )
            seen = Controller(
                controller.loop, controller.store, metrics.render, metrics.content_type, lambda: ["a notice"],
                controller.clock, Learned(learning, trials, lambda: QUICK), read_profiles,
            )  # fmt: skip
            listener = socket.create_server(("127.0.0.1", 0))
            runner = await serve(seen, listener, token)
            if serving:
                while controller.loop.orders.state.target is None:  # noqa: ASYNC110  # the loop has nobody to tell
                    await asyncio.sleep(0.001)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with aiohttp.ClientSession(url) as session:
                api = Api(session, controller, launcher)
                api.routes = list(runner.app.router.routes())
                yield api
            await runner.cleanup()
        await launcher.end()

    return run


@pytest.fixture
async def api(running_api):
    async with running_api() as running:
        yield running
