"""What the disk may not have yet: recent decisions and the controller's state, kept in memory until it does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from reconfigure_daemon.store import queries
from reconfigure_policies.domain.history import ControllerState, DecisionRecord


class Backlog:
    """The last decisions and the state, with a mark on what is not on disk; so history goes on when the disk does not.

    Attributes:
        lost: decisions that were pushed out of memory before the disk took them.
    """

    def __init__(self, capacity: int = 200) -> None:
        self.lost = 0
        self._capacity = capacity
        self._last_id = 0
        self._recent: dict[int, DecisionRecord] = {}
        self._unsaved: set[int] = set()
        self._state: ControllerState | None = None
        self._state_unsaved = False

    def __len__(self) -> int:
        """How many decisions wait for the disk."""
        return len(self._unsaved)

    @property
    def state(self) -> ControllerState | None:
        """The newest state that this controller kept, or None before the first."""
        return self._state

    def next_id(self) -> int:
        """A new decision's id."""
        self._last_id += 1
        return self._last_id

    def continue_after(self, decision_id: int) -> None:
        """Give ids above this one from now on."""
        self._last_id = max(self._last_id, decision_id)

    def recall(self, decision_id: int) -> DecisionRecord | None:
        """A decision that is still in memory."""
        return self._recent.get(decision_id)

    def keep(self, record: DecisionRecord) -> None:
        """Remember a decision, new or with its outcome; beyond the capacity the oldest is forgotten."""
        self._recent[record.id] = record
        self._unsaved.add(record.id)
        if len(self._recent) > self._capacity:
            oldest = min(self._recent)
            del self._recent[oldest]
            if oldest in self._unsaved:
                self._unsaved.remove(oldest)
                self.lost += 1

    def keep_state(self, state: ControllerState) -> None:
        """Remember the state in place of the one before."""
        self._state = state
        self._state_unsaved = True

    def write(self, connection: sqlite3.Connection) -> None:
        """Bring the disk up to date, within the caller's transaction."""
        for decision_id in sorted(self._unsaved):
            queries.insert_decision(connection, self._recent[decision_id])
        if self._state_unsaved and self._state is not None:
            queries.replace_state(connection, self._state)

    def written(self) -> None:
        """The transaction was committed: nothing waits any more."""
        self._unsaved.clear()
        self._state_unsaved = False

    def rewrite(self) -> None:
        """The disk starts afresh: everything that is in memory waits for it again."""
        self._unsaved = set(self._recent)
        self._state_unsaved = self._state is not None

    def laid_over(self, stored: Iterable[DecisionRecord]) -> list[DecisionRecord]:
        """Stored decisions with those in memory added, or in place of their older selves; newest first."""
        merged = {record.id: record for record in stored} | self._recent
        return [merged[decision_id] for decision_id in sorted(merged, reverse=True)]
