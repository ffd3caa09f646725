"""The image's parts, as far as they can be judged without an engine for containers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from reconfigure_daemon.actuation.processes import HostProcess

PROJECT = Path(__file__).parents[3]
CONTAINER = PROJECT / "deploy/container"
SCRIPTS = Path(sysconfig.get_path("scripts"))


def test_the_dockerfile_passes_its_linter():
    """hadolint finds nothing, its remarks on style included."""
    command = [SCRIPTS / "hadolint", "--failure-threshold", "style", CONTAINER / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_copies_is_sent_to_the_build():
    """Every source of a COPY exists, and .dockerignore lets it through."""
    let_through = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for words in re.findall(r"^COPY (.*)$", (CONTAINER / "Dockerfile").read_text(), re.MULTILINE):
        for source in [word for word in words.split() if not word.startswith("--")][:-1]:
            assert (PROJECT / source).exists()
            assert any(source == name or source.startswith(name + "/") for name in let_through), source


def test_the_image_runs_without_root():
    """The last USER is a number, so that Kubernetes' runAsNonRoot can check it."""
    assert re.findall(r"^USER (.*)$", (CONTAINER / "Dockerfile").read_text(), re.MULTILINE)[-1] == "10001:10001"


@pytest.fixture
async def container(tmp_path: Path):
    """Starts the entrypoint over a folder in place of an image's; whatever is left is ended afterwards."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    config = {
        "engine": {"kind": "emulated", "port": ports[0], "start_timeout_s": 60},
        "control_api": {"port": ports[1]},
        "space": {"max_num_seqs": {"values": [16, 32]}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    environ = dict(os.environ) | {
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        "RUNTIME_DIRECTORY": str(tmp_path / "run"),
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "RECONFIGURE_CONFIG": str(tmp_path / "config.yaml"),
        "RECONFIGURE_CONTROL_API__PORT": str(ports[1]),
        "EMULATED_ENGINE": json.dumps({"boot_s": 0.05}),
    }
    process = await asyncio.create_subprocess_exec(str(CONTAINER / "entrypoint.sh"), env=environ)
    yield process, f"http://127.0.0.1:{ports[1]}", environ, tmp_path
    if process.returncode is None:
        process.terminate()
        await process.wait()
    if (host := HostProcess.read(tmp_path / "run/engine-host.pid")) is not None:
        host.signal(signal.SIGKILL)


async def serving(url: str) -> dict[str, object]:
    """The status, once clients are served."""
    async with asyncio.timeout(90):
        while True:
            with suppress(urllib.error.URLError, OSError):
                status = await asyncio.to_thread(
                    lambda: json.load(urllib.request.urlopen(url + "/v1/status", timeout=5))
                )
                if (status["engine"] or {}).get("phase") == "serving":
                    return status
            await asyncio.sleep(0.05)


async def healthy(environ: dict[str, str]) -> int:
    """The exit code of the image's health check."""
    check = await asyncio.create_subprocess_exec(sys.executable, str(CONTAINER / "healthcheck.py"), env=environ)
    return await check.wait()


async def test_a_container_outlives_its_controller_and_ends_with_its_engine(container):
    """A killed controller is followed by one that adopts the engine; SIGTERM ends the engine in order, with code 0."""
    process, url, environ, folder = container
    before = await serving(url)
    assert await healthy(environ) == 0
    os.kill(before["pid"], signal.SIGKILL)
    after = await serving(url)
    while after["pid"] == before["pid"]:
        after = await serving(url)
    assert after["engine"]["host_id"] == before["engine"]["host_id"]
    process.terminate()
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    assert HostProcess.read(folder / "run/engine-host.pid").pids() == []
    assert await healthy(environ) == 1


async def test_a_container_without_an_engine_ends_with_its_daemon(container):
    """Faulty settings end it with the daemon's own code, so that whoever started it sees that."""
    process, url, environ, folder = container
    await serving(url)
    process.terminate()
    await process.wait()
    (folder / "config.yaml").write_text("space: 3\n")
    again = await asyncio.create_subprocess_exec(
        str(CONTAINER / "entrypoint.sh"), env=environ, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        _, said = await again.communicate()
    assert again.returncode == 1
    assert b"space: found 3" in said
