"""The daemon as a service of a real systemd, from `make install` to `make uninstall`, with an emulated engine.

The tests build on each other in their order, as an operator's day does.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.harness.streams import equal_requests, failures, running_streams
from reconfigure_daemon.load_generation.target import Target
from tests.service.conftest import Service, accounts, added, make

pytestmark = pytest.mark.timeout(600)


def ask(url: str, path: str, token: str | None = None) -> tuple[int, dict[str, object]]:
    """Status and JSON of the control API's answer."""
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read())


@asynccontextmanager
async def streaming(service: Service) -> AsyncIterator[None]:
    """Eight streams of some seconds run meanwhile, and every one of them is whole at the end."""
    target = Target(service.engine_url, "emulated")
    async with running_streams(equal_requests(8, 32, 400), target, to_the_end=True) as streams:
        await asyncio.sleep(0.5)
        yield
    assert failures(streams.results) == []


def in_machine(service: Service, pid: int) -> int:
    """The id by which this machine knows a process of the throwaway one."""
    for entry in Path("/proc").glob("[0-9]*/status"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        if re.search(rf"^NSpid:\t\d+\t{pid}$", text, re.MULTILINE) and "python" in str(
            (entry.parent / "exe").readlink()
        ):
            return int(entry.parent.name)
    raise AssertionError(f"no process {pid} in the machine")


def test_the_service_starts_ready_as_its_own_user(service: Service):
    """`systemctl start` returns when the control API answers, and nothing of it has root's rights."""
    service.machine.run("systemctl", "enable", "--now", "reconfigure")
    assert ask(service.control_url, "/healthz")[0] == 200
    service.serving()
    assert service.machine.show("reconfigure", "ActiveState", "NRestarts") == ["active", "0"]
    for pid in (service.controller_pid(), service.engine_pid()):
        status = service.machine.read(f"/proc/{pid}/status")
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        assert "Seccomp:\t2" in status
        uid = int(re.search(r"^Uid:\t(\d+)", status, re.MULTILINE)[1])
        assert service.machine.run("id", "-un", str(uid)).strip() == "reconfigure"
    service.machine.until(
        lambda: "serving: block_size=32" in service.machine.show("reconfigure", "StatusText")[0], "a line of status"
    )


def test_its_files_are_its_own(service: Service):
    """State, sockets and logs are where systemd keeps them, and nobody else can read any of it."""
    root = Path(f"/proc/{in_machine(service, service.controller_pid())}/root")
    for folder in ("var/lib/reconfigure", "run/reconfigure", "var/cache/reconfigure"):
        assert stat.S_IMODE((root / folder).stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "run/reconfigure/engine-host.sock").stat().st_mode) == 0o600
    assert (root / "var/lib/reconfigure/reconfigure.db").exists()


async def test_streams_outlive_a_restart(service: Service):
    """`systemctl restart` brings a new controller to the same engine, both with the same /tmp; no stream notices."""
    controller, engine = service.controller_pid(), service.engine_pid()
    temporary(service, engine).touch()
    async with streaming(service):
        await asyncio.to_thread(service.machine.run, "systemctl", "restart", "reconfigure")
        await asyncio.to_thread(service.serving)
    assert service.controller_pid() != controller
    assert service.engine_pid() == engine
    assert temporary(service, engine).exists()
    assert temporary(service, service.controller_pid()).exists()


def temporary(service: Service, pid: int) -> Path:
    """A file in the /tmp of a process of the machine."""
    return Path(f"/proc/{in_machine(service, pid)}/root/tmp/a-socket")


async def test_streams_outlive_a_killed_controller(service: Service):
    """After `kill -9` systemd starts the next one, which adopts the engine."""
    controller, engine = service.controller_pid(), service.engine_pid()
    async with streaming(service):
        os.kill(in_machine(service, controller), signal.SIGKILL)
        service.machine.until(lambda: service.controller_pid() not in (0, controller), "another controller")
        await asyncio.to_thread(service.serving)
    assert service.engine_pid() == engine


async def test_a_controller_that_hangs_is_replaced(service: Service):
    """Without a sign of life the watchdog ends it; engine and streams are left alone."""
    controller, engine = service.controller_pid(), service.engine_pid()
    async with streaming(service):
        os.kill(in_machine(service, controller), signal.SIGSTOP)
        await asyncio.to_thread(
            service.machine.until, lambda: service.controller_pid() not in (0, controller), "the watchdog to act"
        )
        await asyncio.to_thread(service.serving)
    assert service.engine_pid() == engine


def test_a_reload_reads_the_settings_again(service: Service):
    """`systemctl reload` returns when the new settings are in force, in the same process."""
    controller = service.controller_pid()
    text = service.machine.read("/etc/reconfigure/config.yaml")
    service.machine.write("/etc/reconfigure/config.yaml", text.replace("log_level: INFO", "log_level: DEBUG"))
    service.machine.run("systemctl", "reload", "reconfigure")
    assert service.controller_pid() == controller
    service.machine.until(
        lambda: "was reloaded" in service.machine.run("journalctl", "-u", "reconfigure", "-o", "cat"), "the reload"
    )


def test_the_timers_move_the_objective(service: Service):
    """What the night's timer starts moves to `energy`, the morning's back to `throughput`."""
    for timer, objective in (("night", "energy"), ("morning", "throughput")):
        unit = service.machine.show(f"reconfigure-{timer}.timer", "Unit")[0]
        service.machine.run("systemctl", "start", unit)
        assert ask(service.control_url, "/v1/status")[1]["objective"] == objective
        service.machine.run("systemctl", "enable", "--now", f"reconfigure-{timer}.timer")
        assert "reconfigure-objective@" in service.machine.run("systemctl", "list-timers", f"reconfigure-{timer}.timer")


def test_a_token_comes_as_a_credential(service: Service):
    """With the shipped drop-in other machines are let in, but only with the token that root keeps."""
    token = "0123456789abcdef0123456789abcdef"
    service.machine.write("/etc/reconfigure/control-api-token", token + "\n")
    service.machine.run("chmod", "600", "/etc/reconfigure/control-api-token")
    drop_in = service.machine.read("/usr/local/share/doc/reconfigure/control-api-token.conf")
    service.machine.write("/etc/systemd/system/reconfigure.service.d/control-api-token.conf", drop_in)
    service.machine.run("systemctl", "daemon-reload")
    service.machine.run("systemctl", "restart", "reconfigure")
    service.serving()
    assert ask(service.control_url, "/v1/status")[0] == 401
    assert ask(service.control_url, "/v1/status", token)[0] == 200
    assert token not in service.machine.run("journalctl", "-u", "reconfigure", "-o", "cat")
    service.machine.run("rm", "/etc/systemd/system/reconfigure.service.d/control-api-token.conf")
    service.machine.run("systemctl", "daemon-reload")
    service.machine.run("systemctl", "restart", "reconfigure")
    service.serving()


def test_an_engine_without_its_controller_serves_on(service: Service):
    """`systemctl stop` ends the controller alone, and the next start finds the engine."""
    engine = service.engine_pid()
    service.machine.run("systemctl", "stop", "reconfigure")
    assert service.machine.show("reconfigure", "ActiveState") == ["inactive"]
    assert [line for line in service.machine.processes("reconfigure") if "emulated_engine" in line]
    assert ask(service.engine_url, "/v1/models")[0] == 200
    service.machine.run("systemctl", "start", "reconfigure")
    service.serving()
    assert service.engine_pid() == engine


def test_a_second_installation_changes_nothing_of_the_operators(service: Service):
    """`make install` again brings the files up to date; settings and a running engine stay."""
    settings, engine = service.machine.read("/etc/reconfigure/config.yaml"), service.engine_pid()
    assert "yours was kept" in make(service.machine, "install")
    service.machine.run("systemctl", "restart", "reconfigure")
    service.serving()
    assert service.machine.read("/etc/reconfigure/config.yaml") == settings
    assert service.engine_pid() == engine


async def test_the_engines_stop_waits_for_its_streams(service: Service):
    """`systemctl stop reconfigure-engine` ends controller and engine, the latter once its streams are whole."""
    async with streaming(service):
        await asyncio.to_thread(service.machine.run, "systemctl", "stop", "reconfigure-engine")
    assert service.machine.show("reconfigure", "ActiveState") == ["inactive"]
    assert service.machine.processes("reconfigure") == []


def test_an_uninstallation_leaves_nothing_behind(service: Service):
    """Also from a running service: no file, no folder, no user, no unit is left that was not there before."""
    service.machine.run("systemctl", "start", "reconfigure")
    service.serving()
    assert "Removed from /usr/local" in make(service.machine, "uninstall")
    assert added(service.machine) - service.before == set()
    assert accounts(service.machine) == service.accounts
    assert service.machine.processes("reconfigure") == []
    assert service.machine.run("systemctl", "list-unit-files", "reconfigure*", "--no-legend", check=False) == ""
    assert "nothing was changed" in make(service.machine, "uninstall")
