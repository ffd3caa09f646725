"""Measuring configurations on purpose: one session at a time, on the running engine, with a load of its own."""

from reconfigure_daemon.tuning.measuring import Measuring
from reconfigure_daemon.tuning.moves import Moves
from reconfigure_daemon.tuning.progress import Progress, front_of, growth
from reconfigure_daemon.tuning.proposing import Proposing
from reconfigure_daemon.tuning.request import TuneRequest
from reconfigure_daemon.tuning.session import Means
from reconfigure_daemon.tuning.tuning import Tuning

__all__ = ["Means", "Measuring", "Moves", "Progress", "Proposing", "TuneRequest", "Tuning", "front_of", "growth"]
