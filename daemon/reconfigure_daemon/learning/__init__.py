"""Surrogates of a running daemon: what they are fitted to, when, in which thread, and how well they foretold."""

from reconfigure_daemon.learning.learning import Learning
from reconfigure_daemon.learning.methods import Methods

__all__ = ["Learning", "Methods"]
