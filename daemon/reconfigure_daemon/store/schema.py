"""The tables, as numbered steps that only ever lead forward; `PRAGMA user_version` counts those that were taken.

A step that was released is never edited: a change is one more step. Only SQL of SQLite 3.24 and later is used, as
some systems with Python 3.11 still have 3.34: no STRICT tables, no RETURNING. Times are wall-clock seconds since the
epoch; configurations, windows and other values without a fixed shape are JSON. No table has room for a prompt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

_WHO_ASKED_AND_WHAT_CAME_OF_IT = """
CREATE TABLE hosts (
    id TEXT PRIMARY KEY,
    started_at REAL NOT NULL,
    engine TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    model TEXT NOT NULL
);
CREATE TABLE deployments (
    host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,  -- counts up within a host
    booted_at REAL NOT NULL,
    boot_s REAL NOT NULL,
    configuration TEXT NOT NULL,
    PRIMARY KEY (host_id, number)
);
CREATE TABLE intents (
    id TEXT PRIMARY KEY,
    received_at REAL NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    objective TEXT,
    changes TEXT NOT NULL,
    expires_at REAL
);
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    target TEXT NOT NULL,
    hot TEXT NOT NULL,
    cold TEXT NOT NULL,
    enforced_before TEXT,
    intent_id TEXT REFERENCES intents (id)
);
CREATE INDEX decisions_by_time ON decisions (at);
CREATE INDEX decisions_by_intent ON decisions (intent_id);
CREATE TABLE outcomes (
    decision_id INTEGER PRIMARY KEY REFERENCES decisions (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    enforced TEXT,
    duration_s REAL NOT NULL,
    mode TEXT,
    measurements TEXT NOT NULL
);
CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""

_WHAT_WAS_MEASURED = """
CREATE TABLE windows (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,  -- its end
    host_id TEXT NOT NULL,
    configuration TEXT NOT NULL,
    workload TEXT NOT NULL
);
CREATE INDEX windows_by_time ON windows (at);
CREATE TABLE observations (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    host_id TEXT NOT NULL,
    engine TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    model TEXT NOT NULL,
    configuration TEXT NOT NULL,
    workload TEXT NOT NULL
);
CREATE INDEX observations_by_time ON observations (at);
"""

_WHAT_IS_LEARNED_FROM = """
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    engine TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    model TEXT NOT NULL,
    device TEXT NOT NULL,
    origin TEXT NOT NULL,  -- tune, import or redeploy
    session_id TEXT,
    configuration TEXT NOT NULL,
    context TEXT NOT NULL,
    measured TEXT NOT NULL,
    feasible INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX trials_by_time ON trials (at);
CREATE TABLE tuning_sessions (
    id TEXT PRIMARY KEY,
    started_at REAL NOT NULL,
    ended_at REAL,
    state TEXT NOT NULL
);
CREATE TABLE fits (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    report TEXT NOT NULL
);
"""

_WHO_DECIDED_ON_WHAT_FORECAST = """
ALTER TABLE decisions ADD COLUMN author TEXT NOT NULL DEFAULT 'daemon';
ALTER TABLE decisions ADD COLUMN expected TEXT NOT NULL DEFAULT '{}';
UPDATE decisions SET author = 'operator' WHERE intent_id IS NOT NULL;
UPDATE decisions SET author = 'governor' WHERE intent_id IS NULL AND kind = 'adjust';
"""

#: Step `n` leads from version `n - 1` to version `n`.
MIGRATIONS = (
    _WHO_ASKED_AND_WHAT_CAME_OF_IT,
    _WHAT_WAS_MEASURED,
    _WHAT_IS_LEARNED_FROM,
    _WHO_DECIDED_ON_WHAT_FORECAST,
)


class StoreFromTheFuture(Exception):
    """The file was written by a newer version, whose tables this one would damage.

    Attributes:
        found: the file's schema version.
        known: the newest one this version understands.
    """

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(f"it was written by a newer version (schema {found}; this one knows up to {known})")


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps the file has taken; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(connection: sqlite3.Connection, known: int = len(MIGRATIONS)) -> None:
    """Leave a newer version's file as it is.

    Raises:
        StoreFromTheFuture: if the file has taken more steps than are known.
    """
    found = version_of(connection)
    if found > known:
        raise StoreFromTheFuture(found, known)


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Take the steps that are missing, each whole or not at all.

    Raises:
        sqlite3.Error: if a step fails; the file stays at the last whole one.
    """
    for number in range(version_of(connection) + 1, len(migrations) + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {migrations[number - 1]} PRAGMA user_version = {number}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
