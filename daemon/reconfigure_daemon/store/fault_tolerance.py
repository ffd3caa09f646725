"""A database file that may fail: writes that wait in memory, reads that come back empty, and a way back."""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.store import queries
from reconfigure_daemon.store.backlog import Backlog
from reconfigure_daemon.store.database import FAULTS, connect, explain, is_damage, set_aside, transaction

_LOG = logging.getLogger(__name__)

RETRY_INTERVAL_S = 30.0

_CONSEQUENCE = "; until then recent decisions stay in memory, nothing is learned, and serving goes on"

T = TypeVar("T")


class FaultTolerantFile:
    """A database whose faults end here; for one thread.

    A fault makes it `degraded`, which is logged once; writes are not tried again before `RETRY_INTERVAL_S`. A damaged
    file is set aside, and the next try starts a fresh one.

    Attributes:
        backlog: what the next transaction writes before anything else.
        degraded: one sentence that says what is wrong and what to do, or None while the disk takes everything.
    """

    def __init__(self, path: Path, clock: Clock, busy_timeout_s: float) -> None:
        self.backlog = Backlog()
        self.degraded: str | None = None
        self._damages: deque[str] = deque(maxlen=3)
        self._path = path
        self._clock = clock
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection | None = None
        self._retry_at_s = 0.0

    @property
    def notices(self) -> list[str]:
        """What an operator should know: files that were set aside, and what is wrong now."""
        return [*self._damages, *([] if self.degraded is None else [self.degraded])]

    def open(self) -> None:
        """Open the file now; what cannot be opened is tried again at a later write."""
        self.write()
        if self._connection is None:
            # The last id in the file is unknown; the wall clock's seconds are above any that it can hold.
            self.backlog.continue_after(int(self._clock.wall()))

    def write(self, statement: Callable[[sqlite3.Connection], object] | None = None) -> bool:
        """Run a statement after everything that waits, in one transaction; returns whether the disk took it."""
        if self.degraded is not None and self._clock.monotonic() < self._retry_at_s:
            return False
        try:
            if self.degraded is not None:
                self._disconnect()  # the file may have been moved or mended: look at it anew
            connection = self._opened()
            with transaction(connection):
                self.backlog.write(connection)
                if statement is not None:
                    statement(connection)
        except FAULTS as fault:
            self._degrade(fault)
            return False
        self._recover()
        return True

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T | None:
        """A query's answer, or None without a readable file."""
        if self._connection is None:
            return None
        try:
            return query(self._connection)
        except FAULTS as fault:
            self._degrade(fault)
            return None

    def check(self) -> None:
        """Read every page past this connection's cache: damage under an open file shows in no other way.

        A damaged file is set aside, and the next write starts a fresh one.
        """
        if self._connection is None:
            return
        try:
            connect(self._path, self._busy_timeout_s).close()
        except FAULTS as fault:
            if is_damage(fault):
                self._abandon(fault)

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self.write()
        self._disconnect()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect_or_start_afresh()
            self.backlog.continue_after(queries.last_decision_id(self._connection))
        return self._connection

    def _connect_or_start_afresh(self) -> sqlite3.Connection:
        try:
            return connect(self._path, self._busy_timeout_s)
        except FAULTS as fault:
            if not is_damage(fault):
                raise
            self._abandon(fault)
            return connect(self._path, self._busy_timeout_s)

    def _degrade(self, fault: BaseException) -> None:
        if is_damage(fault):
            try:
                self._abandon(fault)
            except OSError as obstacle:
                fault = obstacle
        sentence = explain(fault, self._path, self._busy_timeout_s) + _CONSEQUENCE
        if self.degraded is None:
            _LOG.error(sentence)
        self.degraded = sentence
        self._retry_at_s = self._clock.monotonic() + RETRY_INTERVAL_S

    def _abandon(self, fault: BaseException) -> None:
        """Move a damaged file out of the way, so that the next opening starts a fresh one."""
        self._disconnect()
        aside = set_aside(self._path, self._clock.wall())
        notice = f"the store {self._path} was damaged ({fault}) and set aside as {aside.name}; a fresh one replaces it"
        _LOG.error(notice)
        self._damages.append(notice)
        self.backlog.rewrite()

    def _recover(self) -> None:
        if self.degraded is not None:
            lost = f", {self.backlog.lost} older ones are lost" if self.backlog.lost else ""
            _LOG.info("the store %s works again: %d decisions caught up%s", self._path, len(self.backlog), lost)
            self.degraded = None
        self.backlog.written()

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):  # the file is given up either way
                connection.close()
