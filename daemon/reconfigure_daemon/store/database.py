"""The file: opening it, telling a damaged one from one that is merely out of reach, and moving it out of the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from reconfigure_daemon.store.schema import StoreFromTheFuture, migrate, refuse_newer, version_of

#: What can go wrong with a file or its disk; anything else is a fault of this program.
FAULTS = (sqlite3.Error, OSError, StoreFromTheFuture)

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class StoreDamaged(sqlite3.DatabaseError):
    """SQLite's own check found broken pages; the message holds its words."""


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open or create the database, check it, and bring its schema up to date.

    Raises:
        StoreFromTheFuture: if a newer version wrote it; nothing was changed.
        StoreDamaged: if its pages are broken.
        sqlite3.Error, OSError: if it cannot be reached, read or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Autocommit: transactions are begun by name, so that a read never leaves one open.
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        refuse_newer(connection)
        _check(connection)  # before anything is written: a damaged file is kept as it was found
        _prepare(connection)
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    findings = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    if findings != ["ok"]:
        raise StoreDamaged("; ".join(findings))


def _prepare(connection: sqlite3.Connection) -> None:
    if version_of(connection) == 0:  # it can be chosen only before the first table; retention frees pages
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit survives the death of the process without waiting for the disk, so that a hot knob does not wait for
    # it either. After a power cut the newest commits may be missing; so are the engine and its requests.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block's statements or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def is_damage(fault: BaseException) -> bool:
    """Whether the file's content is broken, which no retry mends."""
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    return isinstance(fault, StoreDamaged) or code in _DAMAGED


def set_aside(path: Path, wall_s: float) -> Path:
    """Rename a damaged database with its journals, so that a fresh one can take its place.

    Returns:
        Its new path, `NAME.corrupt-YYYYmmddTHHMMSS` in UTC.

    Raises:
        OSError: if the directory cannot be written.
    """
    stamp = datetime.fromtimestamp(wall_s, UTC).strftime("%Y%m%dT%H%M%S")
    names = (f"{path.name}.corrupt-{stamp}{'' if n == 1 else f'-{n}'}" for n in count(1))
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        journal = path.with_name(path.name + suffix)
        if journal.exists():
            journal.rename(aside.with_name(aside.name + suffix))
    return aside


def explain(fault: BaseException, path: Path, busy_timeout_s: float) -> str:
    """One sentence for an operator: what is wrong with the store, and what to do about it."""
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    if isinstance(fault, StoreFromTheFuture):
        return f"the store {path} is left untouched: {fault}; install the newer version again or move the file away"
    if code == sqlite3.SQLITE_FULL:
        return f"the disk that holds the store {path} is full; free some space"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another process has locked the store {path} for more than {busy_timeout_s:g} s; find and stop it"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM) or isinstance(fault, OSError):
        return f"the store {path} cannot be written ({fault}); check its directory's owner, mode and mount"
    return f"the store {path} does not work ({fault}); check its disk"
