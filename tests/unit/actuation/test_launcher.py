"""A host is found again, started once, told apart from others, and ended only when it is the launcher's own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

import aiohttp
import pytest

from reconfigure_daemon.actuation import ending
from reconfigure_daemon.actuation.processes import HostProcess
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.errors import EngineHostUnreachable, EngineStartTimeout, EngineUnavailable, PortInUse
from reconfigure_daemon.ports import HostPhase

CONTROLLER = """
import asyncio, os, sys
from pathlib import Path
from reconfigure_daemon.actuation.launcher import ProcessLauncher
from reconfigure_daemon.settings import load_settings

async def main():
    config, runtime = map(Path, sys.argv[1:])
    await ProcessLauncher(load_settings(config, os.environ), config, runtime, os.environ).adopt_or_start()
    print("serving", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def state_through(client):
    try:
        return await client.state()
    finally:
        await client.close()


async def stream(url, tokens):
    """How many events a completion had, and how it ended."""
    body = {"prompt": [1, 2], "max_tokens": tokens, "ignore_eos": True, "stream": True}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/completions", json=body) as response:
        text = (await response.read()).decode()
    return text.count('"text"'), text.endswith("data: [DONE]\n\n")


async def test_starts_a_host_in_a_session_of_its_own(launcher_of, runtime):
    """It serves the start objective's configuration, leads its session, and is noted in the pid file."""
    launcher = launcher_of()
    state = await state_through(await launcher.adopt_or_start())
    assert (state.phase, state.engine) == (HostPhase.SERVING, "emulated")
    assert state.enforced == {"max_num_seqs": 16, "block_size": 32}
    assert os.getsid(state.pid) == state.pid != os.getsid(0)
    assert HostProcess.read(runtime / "engine-host.pid") == HostProcess.of(state.pid)
    assert "serves at" in launcher.log_file.read_text()


async def test_a_killed_controller_leaves_its_host_and_streams(launcher_of, config_path, runtime):
    """After `kill -9` of a controller the next one adopts the host within two seconds; a stream notices nothing."""
    environ = dict(os.environ) | {"EMULATED_ENGINE": '{"boot_s": 0.01}'}
    command = [sys.executable, "-c", CONTROLLER, str(config_path), str(runtime)]
    controller = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environ)
    assert await controller.stdout.readline() == b"serving\n"
    before = await state_through(launcher_of().client)
    streaming = asyncio.create_task(stream(before.openai_url, 300))
    controller.kill()
    await controller.wait()
    started_s = time.monotonic()
    after = await state_through(await launcher_of().adopt_or_start())
    assert time.monotonic() - started_s < 2.0
    assert (after.host_id, after.pid) == (before.host_id, before.pid)
    _, complete = await streaming
    assert complete


async def test_adopts_without_a_pid_file_and_notes_it_again(launcher_of, runtime):
    """Who answers on the socket is the host, whatever became of the file."""
    before = await state_through(await launcher_of().adopt_or_start())
    (runtime / "engine-host.pid").unlink()
    after = await state_through(await launcher_of().adopt_or_start())
    assert after.host_id == before.host_id
    assert HostProcess.read(runtime / "engine-host.pid").pid == before.pid


async def test_waits_for_a_host_that_another_controller_began_to_start(launcher_of, runtime):
    """Two launchers at once make one host: the second finds the first one's process and waits."""
    first = asyncio.create_task(launcher_of().adopt_or_start())
    while not (runtime / "engine-host.pid").exists():  # noqa: ASYNC110  # another task makes it
        await asyncio.sleep(0.001)
    second = await launcher_of().adopt_or_start()
    assert (await state_through(second)).host_id == (await state_through(await first)).host_id


@pytest.mark.parametrize("content", ["", "nonsense", '{"pid": 999999999, "start_ticks": 1}', "foreign"])
async def test_stale_socket_and_pid_file_do_not_hinder_a_start(launcher_of, runtime, content):
    """A dead host's socket is replaced, and a process that merely has its id now is not touched."""
    foreign = {"pid": os.getpid(), "start_ticks": HostProcess.of(os.getpid()).start_ticks - 1}
    runtime.mkdir()
    (runtime / "engine-host.pid").write_text(json.dumps(foreign) if content == "foreign" else content)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "engine-host.sock"))
    state = await state_through(await launcher_of().adopt_or_start())
    assert state.phase is HostPhase.SERVING


async def test_restart_brings_a_fresh_host_after_a_death(launcher_of, runtime):
    """After `kill -9` of the host a new one serves the configuration that was asked for; the old log is kept."""
    launcher = launcher_of()
    client = await launcher.adopt_or_start()
    before = await client.state()
    process = HostProcess.of(before.pid)
    process.signal(signal.SIGKILL)
    await ending.gone(process, 5.0, SystemClock())
    with pytest.raises(EngineHostUnreachable):
        await state_through(client)
    after = await state_through(await launcher.restart({"max_num_seqs": 4, "block_size": 16}))
    assert after.host_id != before.host_id
    assert after.enforced == {"max_num_seqs": 4, "block_size": 16}
    assert "serves at" in (runtime / "engine-host.log.1").read_text()


async def test_restart_of_a_living_host_adopts_it(launcher_of):
    """Live requests are never ended on a wrong suspicion."""
    launcher = launcher_of()
    before = await state_through(await launcher.adopt_or_start())
    after = await state_through(await launcher.restart({"max_num_seqs": 4, "block_size": 16}))
    assert after.host_id == before.host_id


async def test_stop_drains_and_leaves_nothing(launcher_of, runtime):
    """A live stream ends whole, then the process is gone and its socket with it."""
    launcher = launcher_of()
    client = await launcher.adopt_or_start()
    state = await client.state()
    streaming = asyncio.create_task(stream(state.openai_url, 50))
    while not (await client.state()).live_requests:  # noqa: ASYNC110  # the port has no event for it
        await asyncio.sleep(0.001)
    await client.close()
    await launcher.stop()
    _, complete = await streaming
    assert complete
    assert HostProcess.of(state.pid) is None
    assert not (runtime / "engine-host.sock").exists()
    await launcher.stop()  # nothing to stop is no error


async def test_a_port_in_use_is_told_before_anything_starts(launcher_of, port, runtime):
    """The error names the address and the command that names its owner."""
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse, match=f"127.0.0.1:{port} .*ss -ltnp"):
        await launcher_of().adopt_or_start()
    assert not (runtime / "engine-host.log").exists()


async def test_a_host_that_ends_at_once_tells_its_last_words(launcher_of, runtime):
    """The error holds the engine's own last error and where the rest is, and no process is left."""
    launcher = launcher_of(faults=[{"when": {"block_size": 32}, "fault": "out_of_memory"}])
    with pytest.raises(EngineUnavailable, match=r"exit code 1.*CUDA out of memory.*engine-host\.log"):
        await launcher.adopt_or_start()
    assert HostProcess.read(runtime / "engine-host.pid").pids() == []


async def test_a_host_that_does_not_serve_in_time_is_ended(launcher_of, runtime):
    """The error names the setting, and the process does not linger."""
    launcher = launcher_of(faults=[{"when": {}, "fault": "hangs"}], start_timeout_s=1.5)
    with pytest.raises(EngineStartTimeout, match=r"within 1\.5 s \(engine\.start_timeout_s\)"):
        await launcher.adopt_or_start()
    assert HostProcess.read(runtime / "engine-host.pid").pids() == []


async def test_another_kind_of_engine_is_not_taken_for_the_wanted_one(launcher_of):
    """An emulation is never passed off as vLLM; it is left running, and the error says how to end it."""
    before = await state_through(await launcher_of().adopt_or_start())
    with pytest.raises(EngineUnavailable, match=f"emulated, config.yaml wants vllm.*kill {before.pid}"):
        await launcher_of(kind="vllm").adopt_or_start()
    assert (await state_through(await launcher_of().adopt_or_start())).host_id == before.host_id
