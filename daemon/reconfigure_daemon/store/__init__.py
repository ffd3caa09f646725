"""SQLite: what was decided, what happened, what was measured, what was learned from it."""

from reconfigure_daemon.store.store import Store
from reconfigure_daemon.store.trials import SqliteTrials

__all__ = ["SqliteTrials", "Store"]
