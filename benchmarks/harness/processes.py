"""Servers as child processes: started in a session of their own, ended by their own ids, their last words kept."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from reconfigure_daemon.errors import ReconfigureError

LAST_LINES = 12


class ServerFailed(ReconfigureError):
    """A server ended, or did not answer in time; the message holds its last words."""

    kind = "server_failed"


class ServerProcess:
    """A command in its own session, with both its outputs appended to a log.

    Args:
        command: what to run.
        log: the file to append to.
        environ: beside this process's own environment.
        folder: the working directory.
    """

    def __init__(self, command: Sequence[str], log: Path, environ: Mapping[str, str], folder: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environ},
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, of itself alone; waits until it is gone."""
        self._child.kill()
        self._child.wait()

    def end(self, number: signal.Signals, timeout_s: float) -> None:
        """Ask it to end, and kill its session if it has not after the timeout."""
        if self.running:
            self._child.send_signal(number)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()

    def failure(self, what: str) -> ServerFailed:
        """An error with the last lines of its log."""
        return ServerFailed(f"{what}; its last words in {self.log}:\n{last_lines(self.log)}")


def last_lines(log: Path) -> str:
    """The end of a log, indented."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line}" for line in lines[-LAST_LINES:]) or "    (none)"


def free_port() -> int:
    """A port of the loopback address on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
