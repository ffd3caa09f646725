"""SQLite: what was decided, what happened, what was measured."""
