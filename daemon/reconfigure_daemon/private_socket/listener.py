"""A listening Unix socket that only its owner can reach, put in place without taking anybody's."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconfigure_daemon.errors import PortInUse, SettingsInvalid

#: What `sockaddr_un` holds on Linux, without its terminating zero.
MAX_PATH_BYTES = 107


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 600, in a directory that is made with mode 700 if it is missing.

    A socket file that nobody answers on is a dead host's and is replaced.

    Raises:
        PortInUse: if somebody answers there, or if something that is no socket has the name.
        SettingsInvalid: if the path is too long for a Unix socket.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        length = len(os.fsencode(path))
        raise SettingsInvalid(
            [f"paths.runtime: {path} has {length} bytes; a Unix socket allows {MAX_PATH_BYTES}: choose a shorter one"]
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(path.parent):
        _remove_stale(path)
        return _bind(path)


def file_id(path: Path) -> tuple[int, ...] | None:
    """Tells one file of this name from another; None if there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns  # a file system may reuse the number of a removed file


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the file the mode of the unbound socket, so there is no instant at which it is wider than 600,
        # and the process's umask, which other threads depend on, stays as it is.
        os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        listener.bind(os.fspath(path))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise PortInUse(f"{path} is not a socket; move it away or choose another paths.runtime")
    if _answers(path):
        raise PortInUse(f"an engine host answers on {path}; stop it, or choose another paths.runtime for this one")
    path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True  # its backlog is full, so it lives
        return True


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Lets one process at a time look for a stale socket and bind, or two could remove each other's."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
