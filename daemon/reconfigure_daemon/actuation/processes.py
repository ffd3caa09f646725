"""The engine host as a process that outlives the controller: found again by its id and start time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import Signals

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"

# Fields of /proc/PID/stat after the name in brackets, see proc_pid_stat(5).
_STATE, _SESSION, _START_TIME = 0, 3, 19


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A process and its session. The start time tells it from a later process with the same id.

    Attributes:
        pid: its id, and that of the session it leads.
        start_ticks: kernel clock ticks from boot to its start.
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> HostProcess | None:
        """The process that has this id now; None if there is none."""
        fields = _stat(pid)
        return None if fields is None else cls(pid, int(fields[_START_TIME]))

    @classmethod
    def read(cls, pid_file: Path) -> HostProcess | None:
        """The process that a pid file names; None if there is no such file, nothing sensible, or a boot before this."""
        try:
            content = json.loads(pid_file.read_text())
            if content.get("boot_id", _boot_id()) != _boot_id():  # an older daemon noted none
                return None
            return cls(int(content["pid"]), int(content["start_ticks"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, pid_file: Path) -> None:
        """Leave a note for the next controller."""
        pid_file.write_text(json.dumps({**asdict(self), "boot_id": _boot_id()}) + "\n")

    @property
    def alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        fields = _stat(self.pid)
        return fields is not None and int(fields[_START_TIME]) == self.start_ticks and _runs(fields)

    def pids(self) -> list[int]:
        """Itself and what else runs in the session that it leads; what it left there if it is dead itself.

        What started before it is not of its session, but of one that had the same id.
        """
        leader = _stat(self.pid)
        if leader is not None and int(leader[_START_TIME]) != self.start_ticks:
            return []  # a session keeps its id from being given away, so nothing can be left of it
        members = {pid for pid, fields in _all_stats() if self._leads(fields) and _runs(fields)}
        return sorted(members | ({self.pid} if self.alive else set()))

    def _leads(self, fields: Sequence[str]) -> bool:
        return int(fields[_SESSION]) == self.pid and int(fields[_START_TIME]) >= self.start_ticks

    def signal(self, number: Signals) -> None:
        """Send a signal to all of `pids`."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; told once, and only of the controller's own child, else None."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status) if pid else None


def start(command: Sequence[str], environ: Mapping[str, str], log_file: Path) -> HostProcess:
    """Start a command in a session of its own, so that no signal to the controller's terminal or group reaches it.

    Both its outputs are appended to a log. Nothing here stops it when the controller ends.
    """
    pid = os.posix_spawn(
        command[0],
        list(command),
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    process = HostProcess.of(pid)
    assert process is not None, "a child that nobody has waited for is at least a zombie"
    return process


def _boot_id() -> str:
    return BOOT_ID.read_text().strip()


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets


def _runs(fields: Sequence[str]) -> bool:
    return fields[_STATE] not in "ZX"  # zombies and the dead


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            yield int(entry.name), fields
