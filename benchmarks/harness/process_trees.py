"""Processes that a benchmark has started, with all that they have started: their CPU time, and a way to hold them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ProcessTrees:
    """Some of this process's children, and everything below them.

    Attributes:
        roots: the children's ids.
    """

    roots: frozenset[int] = frozenset()

    @classmethod
    def since(cls, before: frozenset[int]) -> ProcessTrees:
        """What was started after `before` was asked of `children`."""
        return cls(children() - before)

    def stop(self) -> None:
        """Let none of them run."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let all of them run again."""
        self._send(signal.SIGCONT)

    def cpu_s(self) -> float:
        """CPU time that those which run now have used so far."""
        used_s = 0.0
        for process in self._processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                used_s += times.user + times.system
        return used_s

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _processes(self) -> Iterator[psutil.Process]:
        for root in psutil.Process().children():
            if root.pid in self.roots:
                yield root
                with suppress(psutil.NoSuchProcess):
                    yield from root.children(recursive=True)


def children() -> frozenset[int]:
    """Ids of the processes that this one has started and that have not ended."""
    return frozenset(process.pid for process in psutil.Process().children())
