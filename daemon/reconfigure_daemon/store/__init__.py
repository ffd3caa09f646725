"""SQLite: what was decided, what happened, what was measured."""

from reconfigure_daemon.store.store import Store

__all__ = ["Store"]
