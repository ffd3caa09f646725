"""The helper in a process of its own, over the fake driver, and lines sent to it."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unit.metering.machine import FakeNvml


class HelperProcess:
    """One life of the helper."""

    def __init__(self, nvml: FakeNvml, folder: Path, user: str | None = None) -> None:
        self.socket = folder / "helper.sock"
        own = user if user is not None else pwd.getpwuid(os.getuid()).pw_name
        command = [sys.executable, "-m", "reconfigure_daemon.device_helper", "--socket", str(self.socket)]
        environ = {**os.environ, "LD_LIBRARY_PATH": str(nvml.library.parent), "FAKE_NVML_STATE": str(nvml.path)}
        self.process = subprocess.Popen(
            [*command, "--state", str(folder / "state"), *(["--user", own] if own else [])],
            env=environ, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def until_it_answers(self, limit_s: float = 20) -> None:
        limit = time.monotonic() + limit_s
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                self.ask(do="read")
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.process.kill()
        raise AssertionError(f"the helper does not answer: {self.process.communicate()[1]}")

    def ask(self, **request: object) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(connection.makefile().readline())

    def end(self) -> str:
        """Ask it to end; returns what it said."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]


@contextmanager
def helper_process(nvml: FakeNvml, folder: Path, user: str | None = None) -> Iterator[HelperProcess]:
    helper = HelperProcess(nvml, folder, user)
    try:
        helper.until_it_answers()
        yield helper
    finally:
        if helper.process.poll() is None:
            helper.process.kill()
        helper.process.communicate()
