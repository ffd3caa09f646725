"""A launcher of real emulated engine hosts, each ended after its test."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest
import yaml

from reconfigure_daemon.actuation.launcher import ProcessLauncher
from reconfigure_daemon.actuation.processes import HostProcess
from reconfigure_daemon.settings import load_settings


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def config_path(tmp_path, port):
    path = tmp_path / "config.yaml"
    config = {
        "engine": {"kind": "emulated", "port": port, "start_timeout_s": 20, "drain_timeout_s": 5},
        "space": {
            "max_num_seqs": {"values": [4, 16]},
            "block_size": {"values": [16, 32]},
        },
        "objectives": {"throughput": {"max_num_seqs": 16, "block_size": 32}},
        "paths": {"runtime": str(tmp_path / "run"), "state": str(tmp_path / "state")},
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def runtime(tmp_path):
    return tmp_path / "run"


@pytest.fixture
async def launcher_of(config_path, runtime):
    """Makes a launcher, as a controller that has just started would; the host of the last one is ended."""

    made = []

    def make(faults=(), environ=None, **overrides):
        emulation = {"boot_s": 0.01, "faults": list(faults)}
        variables = dict(os.environ) | {"EMULATED_ENGINE": json.dumps(emulation)} | (environ or {})
        variables |= {f"RECONFIGURE_ENGINE__{name.upper()}": str(value) for name, value in overrides.items()}
        settings = load_settings(config_path, variables)
        made.append(ProcessLauncher(settings, config_path, runtime, variables))
        return made[-1]

    yield make
    for launcher in made:
        await launcher.client.close()
    process = HostProcess.read(runtime / "engine-host.pid")
    if process is not None:
        process.signal(signal.SIGKILL)
