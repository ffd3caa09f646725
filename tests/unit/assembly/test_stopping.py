"""`reconfigure stop`: an engine that outlived its controller ends, and only such a one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from reconfigure_daemon.actuation.processes import HostProcess


def stop(folder, *words):
    """The command in a daemon's folder; exit code, JSON and what it said beside that."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RECONFIGURE_")}
    command = [sys.executable, "-m", "reconfigure_daemon", "stop", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=environ, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


async def test_while_a_daemon_runs_its_engine_is_not_stopped(start_daemon, tmp_path):
    """The daemon would start it again, so the command says what to stop first, and everything goes on."""
    daemon = await start_daemon()
    host_id = (await daemon.serving())["engine"]["host_id"]
    code, answer, _ = stop(tmp_path)
    assert (code, answer["error"]["kind"]) == (1, "daemon_already_runs")
    assert (await daemon.status())["engine"]["host_id"] == host_id


async def test_an_engine_without_a_daemon_is_stopped(start_daemon, tmp_path):
    """The process is gone, its id is told, and a second stop finds nothing, which is no fault."""
    daemon = await start_daemon()
    pid = (await daemon.serving())["engine"]["pid"]
    await daemon.end_with(signal.SIGTERM)
    process = HostProcess.of(pid)
    assert process.alive
    assert stop(tmp_path) == (0, {"stopped": True, "pid": pid}, "")
    assert not process.alive
    assert stop(tmp_path) == (0, {"stopped": False, "pid": None}, "")


async def test_a_faulty_settings_file_keeps_no_engine_running(start_daemon, tmp_path, runtime):
    """With the runtime directory named, what was edited since the start is only told; without it, it is a fault."""
    daemon = await start_daemon()
    pid = (await daemon.serving())["engine"]["pid"]
    await daemon.end_with(signal.SIGTERM)
    (tmp_path / "config.yaml").write_text("space: 3\n")
    code, answer, _ = stop(tmp_path)
    assert (code, answer["error"]["kind"]) == (1, "settings_invalid")
    code, answer, said = stop(tmp_path, "--runtime", str(runtime))
    assert (code, answer) == (0, {"stopped": True, "pid": pid})
    assert "the settings are not read" in said
