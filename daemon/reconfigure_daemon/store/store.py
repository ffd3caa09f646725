"""The controller's memory: domain types in, domain types out, never an error for a fault of the disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import ParamSpec, TypeVar

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.ports import HostState
from reconfigure_daemon.store import queries
from reconfigure_daemon.store.fault_tolerance import FaultTolerantFile
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome
from reconfigure_policies.domain.history import (
    ControllerState,
    DecisionRecord,
    Observation,
    SwitchMeasurement,
    WindowRecord,
)
from reconfigure_policies.domain.objective import OperatorIntent
from reconfigure_policies.domain.workload import WorkloadWindow

_LOG = logging.getLogger(__name__)

FILE_NAME = "reconfigure.db"
DAY_S = 86400.0

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """Decisions, outcomes, windows and observations in one SQLite file, used by one thread.

    When the file or its disk fails, `notices` says so, recent decisions and the state are kept in memory and written
    later, and what is only for learning is dropped. Everything below the `async` methods runs on the store's thread.

    Attributes:
        retention_s: how long rows are kept; may be replaced between two sweeps.
    """

    def __init__(self, file: FaultTolerantFile, clock: Clock, retention_s: float) -> None:
        """Wrap a file that is not open yet; see `open`."""
        self._file = file
        self._clock = clock
        self.retention_s = retention_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    @classmethod
    def open(cls, directory: Path, clock: Clock, retention_days: float = 90.0, busy_timeout_s: float = 2.0) -> Store:
        """Open `reconfigure.db` in a directory, creating both; blocks, at most a little over the busy timeout.

        A damaged file is set aside and a fresh one started; a file that cannot be used leaves the store degraded.
        """
        store = cls(
            FaultTolerantFile(directory / FILE_NAME, clock, busy_timeout_s), clock, retention_s=retention_days * DAY_S
        )
        store._thread.submit(store._file.open).result()
        return store

    @property
    def degraded(self) -> str | None:
        """One sentence that says what is wrong and what to do, or None while the disk takes everything."""
        return self._file.degraded

    @property
    def notices(self) -> list[str]:
        """What an operator should know: files that were set aside, and what is wrong now."""
        return self._file.notices

    async def record_intent(self, intent: OperatorIntent) -> None:
        """Keep what an operator asked."""
        await self._on_thread(self._file.write, lambda connection: queries.insert_intent(connection, intent))

    async def record_decision(self, decision: Decision, at: float, enforced_before: Configuration | None = None) -> int:
        """Keep a decision before it acts, with the intent behind it; returns its id."""
        return await self._on_thread(self._record_decision, decision, at, enforced_before)

    async def record_outcome(self, decision_id: int, outcome: Outcome, at: float, mode: str | None = None) -> None:
        """Keep what became of a decision, in place of an earlier `unknown`; `mode` tells a cold switch."""
        await self._on_thread(self._record_outcome, decision_id, outcome, at, mode)

    async def decisions(self, limit: int = 20, before: int | None = None) -> list[DecisionRecord]:
        """At most `limit` decisions with an id below `before`, newest first, each with its outcome."""
        return await self._on_thread(self._decisions, limit, before)

    async def pending_decisions(self) -> list[DecisionRecord]:
        """Decisions that were to act and have no outcome, newest first; after a restart they end as `unknown`."""
        return await self._on_thread(self._pending_decisions)

    async def switch_measurements(self, limit: int = 50) -> list[SwitchMeasurement]:
        """The latest successful cold switches of every mode, newest first."""
        return await self._query(lambda connection: queries.select_switches(connection, limit)) or []

    async def record_deployment(self, host: HostState) -> None:
        """Keep a host and the deployment that it runs; repeating it changes nothing."""
        await self._on_thread(self._file.write, lambda connection: queries.insert_deployment(connection, host))

    async def record_window(
        self, window: WorkloadWindow, configuration: Configuration, host_id: str, at: float
    ) -> None:
        """Keep a window that ended at wall-clock time `at`, served under a configuration."""
        await self._on_thread(
            self._file.write, lambda connection: queries.insert_window(connection, at, host_id, configuration, window)
        )

    async def windows(self, limit: int, after: int = 0) -> list[WindowRecord]:
        """The newest `limit` windows with an id above `after`, oldest first; none while the disk does not answer."""
        return await self._query(lambda connection: queries.select_windows(connection, limit, after)) or []

    async def record_observation(self, observation: Observation) -> None:
        """Keep a settled window to learn from."""
        await self._on_thread(self._file.write, lambda connection: queries.insert_observation(connection, observation))

    async def observations(self, since: float = 0.0) -> list[Observation]:
        """Every observation from a wall-clock time on, oldest first."""
        return await self._query(lambda connection: queries.select_observations(connection, since)) or []

    async def save_state(self, state: ControllerState) -> None:
        """Keep what a restart must not forget."""
        await self._on_thread(self._save_state, state)

    async def load_state(self) -> ControllerState | None:
        """What was kept last, or None in a fresh store."""
        return await self._on_thread(self._load_state)

    async def sweep(self) -> None:
        """Look for damage, forget what is older than the retention, give the space back; once an hour is plenty."""
        await self._on_thread(self._sweep)

    async def close(self) -> None:
        """Write what waits, close the file and end the thread; the store must not be used afterwards."""
        await self._on_thread(self._file.close)
        self._thread.shutdown()

    async def write(self, statement: Callable[[Connection], object]) -> bool:
        """Run a statement in a transaction; returns whether the disk took it."""
        return await self._on_thread(self._file.write, statement)

    async def query(self, query: Callable[[Connection], T]) -> T | None:
        """A query's answer, or None without a readable file."""
        return await self._on_thread(self._file.read, query)

    async def _on_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        done = asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))
        return await asyncio.shield(done)  # an outcome is kept also when its task is cancelled meanwhile

    async def _query(self, query: Callable[[Connection], T]) -> T | None:
        return await self._on_thread(self._file.read, query)

    def _record_decision(self, decision: Decision, at: float, enforced_before: Configuration | None) -> int:
        record = DecisionRecord(self._file.backlog.next_id(), at, decision, enforced_before)
        self._file.backlog.keep(record)
        self._file.write()
        return record.id

    def _record_outcome(self, decision_id: int, outcome: Outcome, at: float, mode: str | None) -> None:
        record = self._file.backlog.recall(decision_id) or self._file.read(
            lambda connection: queries.select_decision(connection, decision_id)
        )
        if record is None:
            _LOG.warning("the outcome of decision %d is not kept: the store does not have the decision", decision_id)
            return
        self._file.backlog.keep(replace(record, outcome=outcome, outcome_at=at, mode=mode))
        self._file.write()

    def _decisions(self, limit: int, before: int | None) -> list[DecisionRecord]:
        stored = self._file.read(lambda connection: queries.select_decisions(connection, limit, before)) or []
        newest_first = self._file.backlog.laid_over(stored)
        return [record for record in newest_first if before is None or record.id < before][:limit]

    def _pending_decisions(self) -> list[DecisionRecord]:
        stored = self._file.read(queries.select_pending) or []
        return [
            record
            for record in self._file.backlog.laid_over(stored)
            if record.outcome is None and record.decision.kind is not DecisionKind.KEEP
        ]

    def _save_state(self, state: ControllerState) -> None:
        self._file.backlog.keep_state(state)
        self._file.write()

    def _load_state(self) -> ControllerState | None:
        state = self._file.backlog.state or self._file.read(queries.select_state)
        if state is not None:
            self._file.backlog.keep_state(state)  # so that a fresh file gets it, should this one turn out damaged
        return state

    def _sweep(self) -> None:
        self._file.check()
        cutoff = self._clock.wall() - self.retention_s
        if self._file.write(lambda connection: queries.delete_before(connection, cutoff)):
            self._file.read(queries.shrink)
