"""Every statement, over one connection; the caller owns transactions and faults."""

from __future__ import annotations

from sqlite3 import Connection

from reconfigure_daemon.ports import HostState
from reconfigure_daemon.store import rows
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from reconfigure_policies.domain.history import (
    ControllerState,
    DecisionRecord,
    Observation,
    SwitchMeasurement,
    WindowRecord,
)
from reconfigure_policies.domain.objective import OperatorIntent
from reconfigure_policies.domain.workload import WorkloadWindow

_DECISIONS = """
SELECT d.*, o.at AS outcome_at, o.kind AS outcome_kind, o.detail, o.enforced, o.duration_s, o.mode, o.measurements,
       i.kind AS intent_kind, i.received_at, i.source, i.objective, i.changes, i.expires_at
FROM decisions d LEFT JOIN outcomes o ON o.decision_id = d.id LEFT JOIN intents i ON i.id = d.intent_id
"""

_VACUUM_PAGES = 4096  # 16 MiB at a time, so that a sweep holds the store only briefly


def insert_intent(connection: Connection, intent: OperatorIntent) -> None:
    """Keep an intent; one that is known already stays as it is."""
    connection.execute(
        "INSERT INTO intents (id, received_at, source, kind, objective, changes, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            intent.id,
            intent.received_at,
            intent.source,
            intent.kind,
            intent.objective,
            rows.encode(intent.changes),
            intent.expires_at,
        ),
    )


def insert_decision(connection: Connection, record: DecisionRecord) -> None:
    """Keep a decision, the intent behind it, and its outcome if it has one; safe to repeat."""
    decision = record.decision
    if decision.intent is not None:
        insert_intent(connection, decision.intent)
    connection.execute(
        "INSERT INTO decisions (id, at, kind, reason, target, hot, cold, enforced_before, intent_id, author, expected)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            record.id,
            record.at,
            decision.kind,
            rows.encode_text(decision.reason),
            rows.encode(decision.target),
            rows.encode(decision.hot),
            rows.encode(decision.cold),
            rows.encode(record.enforced_before),
            None if decision.intent is None else decision.intent.id,
            decision.author,
            rows.encode_estimates(decision.expected),
        ),
    )
    if record.outcome is not None:
        _replace_outcome(connection, record)


def _replace_outcome(connection: Connection, record: DecisionRecord) -> None:
    """An `unknown` outcome is replaced once it is reconciled."""
    outcome = record.outcome
    assert outcome is not None
    connection.execute(
        "INSERT OR REPLACE INTO outcomes (decision_id, at, kind, detail, enforced, duration_s, mode, measurements)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.outcome_at,
            outcome.kind,
            rows.encode_text(outcome.detail),
            rows.encode(outcome.enforced),
            outcome.duration_s,
            record.mode,
            rows.encode(outcome.measurements),
        ),
    )


def last_decision_id(connection: Connection) -> int:
    """The highest id in use; 0 without decisions."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM decisions").fetchone()[0])


def select_decision(connection: Connection, decision_id: int) -> DecisionRecord | None:
    """The decision of this id, or None."""
    found = connection.execute(f"{_DECISIONS} WHERE d.id = ?", (decision_id,))
    return next(iter(rows.decode_all(found, rows.decode_decision)), None)


def select_decisions(connection: Connection, limit: int, before: int | None) -> list[DecisionRecord]:
    """The newest decisions with an id below `before`, newest first."""
    found = connection.execute(
        f"{_DECISIONS} WHERE ?1 IS NULL OR d.id < ?1 ORDER BY d.id DESC LIMIT ?2", (before, limit)
    )
    return rows.decode_all(found, rows.decode_decision)


def select_pending(connection: Connection) -> list[DecisionRecord]:
    """Decisions that were to act and whose end nobody saw."""
    found = connection.execute(f"{_DECISIONS} WHERE o.decision_id IS NULL AND d.kind <> ?", (DecisionKind.KEEP,))
    return rows.decode_all(found, rows.decode_decision)


def select_switches(connection: Connection, limit: int) -> list[SwitchMeasurement]:
    """The latest cold switches that succeeded, newest first."""
    found = connection.execute(
        "SELECT * FROM outcomes WHERE kind = ? AND mode IS NOT NULL ORDER BY decision_id DESC LIMIT ?",
        (OutcomeKind.APPLIED, limit),
    )
    return rows.decode_all(found, rows.decode_switch)


def insert_deployment(connection: Connection, host: HostState) -> None:
    """Keep a host and the deployment it runs; what is known already stays as it is."""
    connection.execute(
        "INSERT INTO hosts (id, started_at, engine, engine_version, model) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO NOTHING",
        (host.host_id, host.started_at, host.engine, host.engine_version, host.model),
    )
    if host.deployment is not None:
        connection.execute(
            "INSERT INTO deployments (host_id, number, booted_at, boot_s, configuration) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (host_id, number) DO NOTHING",
            (
                host.host_id,
                host.deployment.id,
                host.deployment.booted_at,
                host.deployment.boot_s,
                rows.encode(host.enforced),
            ),
        )


def insert_window(
    connection: Connection, at: float, host_id: str, configuration: Configuration, window: WorkloadWindow
) -> None:
    """Keep a workload window that ended at `at`."""
    connection.execute(
        "INSERT INTO windows (at, host_id, configuration, workload) VALUES (?, ?, ?, ?)",
        (at, host_id, rows.encode(configuration), rows.encode_window(window)),
    )


def select_windows(connection: Connection, limit: int, after: int) -> list[WindowRecord]:
    """The newest windows with an id above `after`, oldest first."""
    found = connection.execute("SELECT * FROM windows WHERE id > ? ORDER BY id DESC LIMIT ?", (after, limit))
    return rows.decode_all(found, rows.decode_window_record)[::-1]


def insert_observation(connection: Connection, observation: Observation) -> None:
    """Keep an observation."""
    connection.execute(
        "INSERT INTO observations (at, host_id, engine, engine_version, model, configuration, workload)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            observation.at,
            observation.host_id,
            observation.engine,
            observation.engine_version,
            observation.model,
            rows.encode(observation.configuration),
            rows.encode_window(observation.window),
        ),
    )


def select_observations(connection: Connection, since: float) -> list[Observation]:
    """Observations from `since` on, oldest first."""
    found = connection.execute("SELECT * FROM observations WHERE at >= ? ORDER BY at, id", (since,))
    return rows.decode_all(found, rows.decode_observation)


def replace_state(connection: Connection, state: ControllerState) -> None:
    """Keep what must survive a restart."""
    connection.executemany("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", rows.encode_state(state).items())


def select_state(connection: Connection) -> ControllerState | None:
    """What the last controller kept, or None if there was none or it cannot be understood."""
    pairs = dict(connection.execute("SELECT key, value FROM state").fetchall())
    return next(iter(rows.decode_all([pairs] if pairs else [], rows.decode_state)), None)


def delete_before(connection: Connection, cutoff: float) -> int:
    """Forget what is older than `cutoff`; an intent or a host goes with the last row that needs it.

    Returns:
        How many rows were deleted, those that go with another row not counted.
    """
    statements = (
        "DELETE FROM windows WHERE at < ?",
        "DELETE FROM observations WHERE at < ?",
        "DELETE FROM trials WHERE at < ?",
        "DELETE FROM tuning_sessions WHERE started_at < ?",
        "DELETE FROM fits WHERE at < ?",
        "DELETE FROM decisions WHERE at < ?",
        "DELETE FROM intents WHERE received_at < ? AND id NOT IN"
        " (SELECT intent_id FROM decisions WHERE intent_id IS NOT NULL)",
        "DELETE FROM hosts WHERE started_at < ? AND id NOT IN (SELECT host_id FROM windows)"
        " AND id NOT IN (SELECT host_id FROM observations)",
    )
    return sum(connection.execute(statement, (cutoff,)).rowcount for statement in statements)


def shrink(connection: Connection) -> None:
    """Give freed pages back to the disk, a bounded number at a time."""
    connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
