"""The helper as it runs: a process with a socket, that may be ended or killed at any time."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconfigure_daemon.device_helper.server import Server
from tests.unit.device_helper.conftest import Helper
from tests.unit.device_helper.process import HelperProcess, helper_process
from tests.unit.metering.machine import FakeNvml


def lock(helper: HelperProcess, mhz: int) -> dict[str, object]:
    [card] = helper.ask(do="read")["gpus"]  # type: ignore[misc]
    return helper.ask(do="set_clock", holder="test", gpus=[card["uuid"]], mhz=mhz, lease_s=60)


def test_ending_it_frees_the_card_and_killing_it_only_delays_that(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    """SIGTERM puts the card back; after `kill -9` the next helper does, before it answers anybody."""
    with helper_process(fake_nvml, tmp_path) as helper:
        lock(helper, 1200)
        helper.process.kill()
        helper.process.wait(10)
    assert fake_nvml.was_set(0, "locked_mhz") == [1200]
    with helper_process(fake_nvml, tmp_path) as helper:
        assert fake_nvml.was_set(0, "locked_mhz") == [1200, 0]
        lock(helper, 900)
        assert "put back" in helper.end()
    assert fake_nvml.was_set(0, "locked_mhz") == [1200, 0, 900, 0]
    assert not helper.socket.exists()


def test_the_socket_is_for_its_group_only(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    """Nobody else can even connect."""
    with helper_process(fake_nvml, tmp_path) as helper:
        assert stat.S_IMODE(helper.socket.stat().st_mode) == 0o660


def test_a_stranger_of_the_group_is_refused(helper: Helper) -> None:
    """Who may open the socket is still asked who he is, by the kernel; root and the daemon's user are served."""
    with connection_of_nobody() as stranger:
        refusal = Server(helper.custody, frozenset({7})).stranger(stranger)
        assert b"user 65534 may not set GPUs; users 0, 7 may" in (refusal or b"")
        assert Server(helper.custody, frozenset({65534})).stranger(stranger) is None


@contextmanager
def connection_of_nobody() -> Iterator[socket.socket]:
    """A connection whose other end was made by user 65534; only root can have one."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    ours, theirs = socket.socketpair()
    script = (
        "import os, socket, sys; os.setuid(65534); pair = socket.socketpair();"
        "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'x'], [pair[0].fileno()])"
    )
    with ours, theirs:
        subprocess.run([sys.executable, "-c", script, str(theirs.fileno())], pass_fds=[theirs.fileno()], check=True)
        [descriptor] = socket.recv_fds(ours, 1, 1)[1]
        with socket.socket(fileno=descriptor) as connection:
            yield connection


def test_two_helpers_do_not_share_a_socket(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    """The second says so in one line and leaves the first alone."""
    with helper_process(fake_nvml, tmp_path) as first:
        second = HelperProcess(fake_nvml, tmp_path)
        said = second.process.communicate(timeout=20)[1]
        assert second.process.returncode == 1
        assert said == f"reconfigure-device-helper: another helper answers at {first.socket}\n"
        assert "gpus" in first.ask(do="read")


def test_an_unknown_user_is_told(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    """A typo in the unit is one line, no traceback."""
    helper = HelperProcess(fake_nvml, tmp_path, user="no-such-user")
    said = helper.process.communicate(timeout=20)[1]
    assert (helper.process.returncode, said.count("\n")) == (1, 1)
    assert "no-such-user" in said
