"""Real daemons with real emulated engine hosts: processes, sockets and signals as a user has them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress

import aiohttp
import pytest
import yaml

from reconfigure_daemon.actuation.processes import HostProcess

PATIENCE_S = 30


class Daemon:
    """One `reconfigure serve`, and what its control API says."""

    def __init__(self, process, url):
        self.process = process
        self.url = url

    async def get(self, path):
        async with aiohttp.ClientSession(self.url) as session, session.get(path) as answer:
            return answer.status, await answer.json()

    async def status(self):
        return (await self.get("/v1/status"))[1]

    async def intend(self, kind, **facts):
        async with (
            aiohttp.ClientSession(self.url) as session,
            session.post("/v1/intents", json={"kind": kind, **facts}) as answer,
        ):
            return answer.status, await answer.json()

    async def until(self, condition):
        """The first status for which the condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    status = await self.status()
                    if condition(status):
                        return status
                await asyncio.sleep(0.02)

    async def serving(self):
        """Status, once the engine serves and has been recorded."""
        return await self.until(lambda status: status["engine_error"] is None and status["last_decision"] is not None)

    async def ended(self):
        """Exit code and everything it said."""
        async with asyncio.timeout(PATIENCE_S):
            _, said = await self.process.communicate()
        return self.process.returncode, said.decode()

    async def end_with(self, number):
        self.process.send_signal(number)
        return await self.ended()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def config(tmp_path):
    """The settings as a dictionary; `start_daemon` writes them."""
    return {
        "engine": {"kind": "emulated", "port": free_port(), "start_timeout_s": 20, "drain_timeout_s": 5},
        "space": {
            "max_num_seqs": {"values": [16, 32, 64], "default": 64},
            "block_size": {"values": [16, 32]},
        },
        "objectives": {"energy": {"max_num_seqs": 16, "block_size": 32}},
        "metering": {"interval_s": 0.1, "nvml": "off", "rapl": "off"},
        "control_api": {"port": free_port()},
    }


@pytest.fixture
def runtime(tmp_path):
    return tmp_path / "var/run"


@pytest.fixture
async def start_daemon(tmp_path, config, runtime):
    """Starts daemons over the same directories; whatever is left of them and their host is ended afterwards."""
    daemons = []

    async def start(boot_s=0.05, environ=None):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        variables = dict(os.environ) | {"EMULATED_ENGINE": json.dumps({"boot_s": boot_s})} | (environ or {})
        command = [sys.executable, "-m", "reconfigure_daemon", "serve", "--config", str(path)]
        process = await asyncio.create_subprocess_exec(
            *command, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        daemons.append(Daemon(process, f"http://127.0.0.1:{config['control_api']['port']}"))
        return daemons[-1]

    yield start
    for daemon in daemons:
        if daemon.process.returncode is None:
            daemon.process.kill()
        await daemon.process.communicate()
    if (host := HostProcess.read(runtime / "engine-host.pid")) is not None:
        host.signal(signal.SIGKILL)
