"""The private socket is put in place for its owner alone, and never takes a living host's place."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from reconfigure_daemon.errors import PortInUse, SettingsInvalid
from reconfigure_daemon.private_socket.listener import listen


@pytest.fixture
def socket_file(tmp_path):
    return tmp_path / "run" / "engine-host.sock"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_can_reach_it(socket_file, umask):
    """Socket and directory are closed to others whatever the umask, which is left as it was."""
    before = os.umask(umask)
    try:
        with listen(socket_file):
            assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
            assert stat.S_IMODE(socket_file.parent.stat().st_mode) == 0o700
    finally:
        assert os.umask(before) == umask


def test_a_dead_hosts_socket_is_replaced(socket_file):
    """A file that nobody answers on does not stop the next host."""
    listen(socket_file).close()
    assert socket_file.exists()
    with listen(socket_file), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_file))


def test_a_living_host_keeps_its_socket(socket_file):
    """A second host is refused with the path, and the first still answers."""
    with listen(socket_file) as first:
        with pytest.raises(PortInUse, match=str(socket_file)):
            listen(socket_file)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(socket_file))
            first.accept()[0].close()


def test_a_host_too_busy_to_accept_keeps_its_socket(socket_file):
    """A full backlog is an answer: the host lives."""
    with listen(socket_file) as first:
        first.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(socket_file))
            with pytest.raises(PortInUse):
                listen(socket_file)


def test_other_files_are_not_removed(socket_file):
    """A file of this name that is no socket is somebody's data."""
    socket_file.parent.mkdir()
    socket_file.write_text("notes")
    with pytest.raises(PortInUse, match="is not a socket"):
        listen(socket_file)
    assert socket_file.read_text() == "notes"


def test_a_path_too_long_for_a_socket_names_the_setting(tmp_path):
    """The kernel's limit is told with the setting to change, not as an OSError."""
    with pytest.raises(SettingsInvalid, match=r"paths\.runtime: .* allows 107"):
        listen(tmp_path / ("x" * 120) / "engine-host.sock")
