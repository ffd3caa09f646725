"""What else kept the machine busy while a benchmark ran: a figure from a shared machine should say so."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

#: Every process that a benchmark starts inherits it, however it is reparented, so that its work is told from others'.
MARK = "RECONFIGURE_BENCHMARK"
SAMPLE_INTERVAL_S = 1.0


@dataclass(slots=True)
class Background:
    """CPU time of processes that are not the benchmark's.

    Attributes:
        cpu_s: used by each of them so far, by process id and start; lives as long as the benchmark.
        span_s: how long it has been watched.
    """

    cpu_s: dict[tuple[int, float], float] = field(default_factory=dict)
    span_s: float = 0.0

    @property
    def cores(self) -> float:
        """Cores that others kept busy, on average."""
        return sum(self.cpu_s.values()) / self.span_s if self.span_s > 0 else 0.0


@asynccontextmanager
async def watched_background() -> AsyncIterator[Background]:
    """Mark this process's children, and account for everybody else's CPU time while the block runs."""
    mark = os.environ[MARK] = uuid.uuid4().hex
    background, watch = Background(), _Watch(mark)
    sampling = asyncio.create_task(_sample(watch, background))
    try:
        yield background
    finally:
        sampling.cancel()
        await asyncio.to_thread(watch.sample, background)


async def _sample(watch: _Watch, background: Background) -> None:
    """In a thread: on a busy machine a look at all processes takes as long as the pauses that are measured."""
    while True:
        await asyncio.to_thread(watch.sample, background)
        await asyncio.sleep(SAMPLE_INTERVAL_S)


class _Watch:
    """Remembers what each foreign process had used when it was first seen."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self._own: dict[tuple[int, float], bool] = {}
        self._before: dict[tuple[int, float], float] = {}
        self._began_s = time.monotonic()
        self._looking = threading.Lock()

    def sample(self, background: Background) -> None:
        """Add what others have used since the watch began; one look at a time."""
        with self._looking:
            self._look(background)

    def _look(self, background: Background) -> None:
        began_at = time.time() - (time.monotonic() - self._began_s)
        for process in psutil.process_iter():
            try:
                key = (process.pid, process.create_time())
                if self._is_own(key):
                    continue
                times = process.cpu_times()
            except psutil.Error:
                continue
            used_s = times.user + times.system
            before_s = self._before.setdefault(key, 0.0 if key[1] > began_at else used_s)
            background.cpu_s[key] = used_s - before_s
        background.span_s = time.monotonic() - self._began_s

    def _is_own(self, key: tuple[int, float]) -> bool:
        if key not in self._own:
            self._own[key] = key[0] == os.getpid() or any(
                self._mark in _environ(pid) for pid in (key[0], _leader(key[0]))
            )
        return self._own[key]


def _leader(pid: int) -> int:
    """The leader of its session: a core that has renamed itself has overwritten its own environment."""
    try:
        return os.getsid(pid)
    except OSError:
        return pid


def _environ(pid: int) -> bytes:
    """The environment that a process was started with; empty where it may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123  # a path object per process and second is waste
            return file.read()
    except OSError:
        return b""
