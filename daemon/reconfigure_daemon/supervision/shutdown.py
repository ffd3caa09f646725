"""Signals: SIGTERM ends the controller, SIGINT the engine host as well, SIGHUP reads the configuration again."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from enum import StrEnum

log = logging.getLogger(__name__)


class StopCause(StrEnum):
    """Why the daemon ends, which decides what happens to the engine host."""

    TERMINATED = "terminated"  # by systemd or `kill`: the engine host serves on and is adopted at the next start
    INTERRUPTED = "interrupted"  # by Ctrl-C: who started both in the foreground wants both to end


class Shutdown:
    """Turns signals into a wait for the end."""

    def __init__(self) -> None:
        self._requested = asyncio.Event()
        self._impatient = asyncio.Event()
        self.cause: StopCause | None = None

    def listen(self, loop: asyncio.AbstractEventLoop, on_reload: Callable[[], None]) -> None:
        """Take over SIGTERM, SIGINT and SIGHUP of this process."""
        loop.add_signal_handler(signal.SIGTERM, self.request, StopCause.TERMINATED)
        loop.add_signal_handler(signal.SIGINT, self.request, StopCause.INTERRUPTED)
        loop.add_signal_handler(signal.SIGHUP, on_reload)

    def request(self, cause: StopCause) -> None:
        """Ask for the end; the first cause holds, and a second request means that nobody wants to wait."""
        if self.cause is None:
            self.cause = cause
            self._requested.set()
        else:
            self._impatient.set()

    async def requested(self) -> StopCause:
        """Wait until somebody asks for the end."""
        await self._requested.wait()
        assert self.cause is not None
        return self.cause

    async def impatient(self) -> None:
        """Wait until somebody asks a second time."""
        await self._impatient.wait()
