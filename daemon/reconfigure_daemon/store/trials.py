"""What surrogates learn from, the sessions that measure it, and what fits found of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from sqlite3 import Connection
from typing import Any

from reconfigure_daemon.ports import Served, TuningRecord
from reconfigure_daemon.store import rows
from reconfigure_daemon.store.store import Store
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.workload import WorkloadWindow
from reconfigure_policies.surrogate import Measured, Quantity, Trial, trial_from_observation

#: Fits that are kept, for looking back.
_FITS_KEPT = 20


class SqliteTrials:
    """A `TrialStore` in the controller's own file."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record_trials(
        self, served: Served, trials: Sequence[Trial], origin: str, session_id: str | None = None
    ) -> bool:
        """See `TrialStore.record_trials`."""
        values = [_encoded(served, trial, origin, session_id) for trial in trials]
        return await self._store.write(lambda connection: connection.executemany(_INSERT, values))

    async def trials(self, served: Served, limit: int) -> list[Trial]:
        """See `TrialStore.trials`."""
        found = await self._store.query(lambda connection: _latest(connection, served, limit)) or []
        return sorted(found, key=lambda trial: trial.at)[-limit:]

    async def trials_of(self, session_id: str) -> list[Trial]:
        """See `TrialStore.trials_of`."""
        statement = "SELECT * FROM trials WHERE session_id = ? ORDER BY id"
        return (
            await self._store.query(
                lambda connection: rows.decode_all(connection.execute(statement, (session_id,)), _decoded)
            )
            or []
        )

    async def windows(self, limit: int) -> list[WorkloadWindow]:
        """See `TrialStore.windows`."""
        statement = "SELECT workload FROM windows ORDER BY id DESC LIMIT ?"
        found = await self._store.query(
            lambda connection: rows.decode_all(
                connection.execute(statement, (limit,)), lambda row: rows.decode_window(row["workload"])
            )
        )
        return [window for window in found or [] if window.finished]

    async def save_session(self, session: TuningRecord) -> None:
        """See `TrialStore.save_session`."""
        state = {
            "request": dict(session.request),
            "context": asdict(session.context),
            "restore": dict(session.restore),
            "trials": session.trials,
            "outcome": rows.encode_text(session.outcome),
        }
        values = (session.id, session.started_at, session.ended_at, json.dumps(state))
        await self._store.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO tuning_sessions (id, started_at, ended_at, state) VALUES (?, ?, ?, ?)", values
            )
        )

    async def last_session(self) -> TuningRecord | None:
        """See `TrialStore.last_session`."""
        statement = "SELECT * FROM tuning_sessions ORDER BY started_at DESC, id DESC LIMIT 1"
        found = await self._store.query(
            lambda connection: rows.decode_all(connection.execute(statement), _decoded_session)
        )
        return next(iter(found or []), None)

    async def record_fit(self, at: float, report: Mapping[str, Any]) -> None:
        """See `TrialStore.record_fit`."""
        text = json.dumps(dict(report))

        def replace(connection: Connection) -> None:
            connection.execute("INSERT INTO fits (at, report) VALUES (?, ?)", (at, text))
            connection.execute("DELETE FROM fits WHERE id <= (SELECT max(id) FROM fits) - ?", (_FITS_KEPT,))

        await self._store.write(replace)

    async def last_fit(self) -> Mapping[str, Any] | None:
        """See `TrialStore.last_fit`."""
        statement = "SELECT report FROM fits ORDER BY id DESC LIMIT 1"
        found = await self._store.query(
            lambda connection: rows.decode_all(
                connection.execute(statement), lambda row: dict(json.loads(row["report"]))
            )
        )
        return next(iter(found or []), None)


_INSERT = (
    "INSERT INTO trials (at, engine, engine_version, model, device, origin, session_id, configuration, context,"
    " measured, feasible, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _latest(connection: Connection, served: Served, limit: int) -> list[Trial]:
    """The newest of both kinds; windows were all served by this machine."""
    of = (served.engine, served.model)
    kept = connection.execute(
        "SELECT * FROM trials WHERE engine = ? AND model = ? AND device = ? ORDER BY at DESC LIMIT ?",
        (*of, served.device, limit),
    )
    observed = connection.execute(
        "SELECT * FROM observations WHERE engine = ? AND model = ? ORDER BY at DESC LIMIT ?", (*of, limit)
    )
    observations = rows.decode_all(observed, rows.decode_observation)
    return [*rows.decode_all(kept, _decoded), *map(trial_from_observation, observations)]


def _encoded(served: Served, trial: Trial, origin: str, session_id: str | None) -> tuple[Any, ...]:
    measured = {quantity.value: [each.value, each.relative_sd] for quantity, each in trial.measured.items()}
    return (
        trial.at, served.engine, served.engine_version, served.model, served.device, origin, session_id,
        rows.encode(trial.configuration), json.dumps(asdict(trial.context)), json.dumps(measured),
        int(trial.feasible), rows.encode_text(trial.reason),
    )  # fmt: skip


def _decoded(row: rows.Row) -> Trial:
    measured = json.loads(row["measured"])
    return Trial(
        configuration=Configuration(json.loads(row["configuration"])),
        context=WorkloadContext(**json.loads(row["context"])),
        at=row["at"],
        measured={Quantity(name): Measured(*values) for name, values in measured.items()},
        feasible=bool(row["feasible"]),
        reason=row["reason"],
    )


def _decoded_session(row: rows.Row) -> TuningRecord:
    state = json.loads(row["state"])
    return TuningRecord(
        id=row["id"],
        started_at=row["started_at"],
        request=state["request"],
        context=WorkloadContext(**state["context"]),
        restore=Configuration(state["restore"]),
        trials=state["trials"],
        ended_at=row["ended_at"],
        outcome=state["outcome"],
    )
