"""An emulated host that serves clients at a local port, with a fast model so that tests take milliseconds."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.openai_api import openai_application
from reconfigure_daemon.settings import Settings

FAST = EngineModel(step_overhead_s=0.0002, weight_read_s=0.0008)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settings():
    return Settings.model_validate(
        {
            "engine": {"kind": "emulated", "port": free_port(), "start_timeout_s": 1},
            "space": {
                "max_num_seqs": {"values": [1, 4, 16], "default": 16},
                "block_size": {"values": [16, 32]},
                "tensor_parallel_size": {"values": [1, 4]},
            },
        }
    )


@asynccontextmanager
async def serving(**emulation):
    host = EmulatedHost(settings(), SystemClock(), Emulation.model_validate({"boot_s": 0.01, **emulation}), FAST)
    time_passing = asyncio.create_task(host.engine.run())
    runner = web.AppRunner(openai_application(host), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int((await host.state()).openai_url.rpartition(":")[2])).start()
    try:
        yield host
    finally:
        await runner.cleanup()
        time_passing.cancel()
        await asyncio.gather(time_passing, return_exceptions=True)


@pytest.fixture
async def host():
    async with serving() as host:
        await host.boot({})
        yield host


@pytest.fixture
async def url(host):
    return (await host.state()).openai_url
