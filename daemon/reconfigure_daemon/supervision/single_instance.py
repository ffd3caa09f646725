"""One controller for each runtime directory, held by a lock that the kernel drops with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconfigure_daemon.errors import DaemonAlreadyRuns, RuntimeFolderUnusable


@contextmanager
def single_instance(runtime: Path) -> Iterator[None]:
    """Hold `RUNTIME/controller.lock`, with our process id in it for people; the folder is made where it is missing.

    The file stays when the lock goes: removing it would let two processes lock two files of the same name.

    Raises:
        DaemonAlreadyRuns: if another process holds it.
        RuntimeFolderUnusable: if the folder cannot be made, or the file not opened.
    """
    path = runtime / "controller.lock"
    try:
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise RuntimeFolderUnusable(runtime, fault) from fault
    try:
        _lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise DaemonAlreadyRuns(pid, path.parent) from None
