"""A real daemon with an emulated engine and a past, for a browser to look at."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import yaml

from reconfigure_daemon.actuation.processes import HostProcess
from reconfigure_daemon.settings import load_settings
from tests.page.recording import record_past

PATIENCE_S = 60.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settings_text(minutes, token=False, **changes):
    """Settings with a schedule that came in the middle of the past."""
    came = time.gmtime(time.time() - minutes * 60 * 0.62)
    settings = {
        "engine": {"kind": "emulated", "port": free_port(), "start_timeout_s": 30, "drain_timeout_s": 2},
        "space": {
            "max_num_seqs": {"values": [16, 32, 64, 128], "default": 128},
            "max_num_batched_tokens": {"values": [2048, 8192], "default": 8192},
            "pacing_interval_s": {"values": [0, 0.01, 0.02, 0.03]},
            "block_size": {"values": [16, 32, 64]},
        },
        "objectives": {
            "energy": {"pacing_interval_s": 0.03, "block_size": 32},
            "throughput": {},
            "balanced": {"pacing_interval_s": 0.01, "block_size": 32},
        },
        "schedules": {"quiet_hours": {"cron": f"{came.tm_min} {came.tm_hour} * * *", "objective": "energy"}},
        "decision": {"enabled": False},
        "slo": {"ttft_s": 0.5, "tpot_s": 0.05},
        "metering": {"interval_s": 1, "nvml": "off", "rapl": "off"},
        "control_api": {"port": free_port()} | ({"token_file": "token"} if token else {}),
        "paths": {"state": "state", "runtime": "run"},
    }
    return yaml.safe_dump(settings | changes, sort_keys=False)


@contextmanager
def running_daemon(folder, minutes=10, token=None, **changes):
    """The control API's address, of a daemon that serves; both processes are ended afterwards."""
    if token is not None:
        (folder / "token").write_text(token)
        (folder / "token").chmod(0o600)
    config = folder / "config.yaml"
    config.write_text(settings_text(minutes, token is not None, **changes))
    settings = load_settings(config, {})
    if minutes:
        record_past(folder / "state", settings, minutes)
    variables = os.environ | {"EMULATED_ENGINE": json.dumps({"boot_s": 0.3})}
    command = [sys.executable, "-m", "reconfigure_daemon", "serve", "--config", str(config)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{settings.control_api.port}"
        _until_ready(url, process, folder)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        if (host := HostProcess.read(folder / "run" / "engine-host.pid")) is not None:
            host.signal(signal.SIGKILL)


def _until_ready(url, process, folder):
    limit_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit_s and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=2):
            return
        time.sleep(0.1)
    raise AssertionError(f"the daemon does not serve; it said:\n{(folder / 'log').read_text()}")
