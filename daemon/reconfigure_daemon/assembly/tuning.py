"""Joins what a tuning session works with."""

from __future__ import annotations

from reconfigure_daemon.assembly.wiring import Surroundings
from reconfigure_daemon.control_loop import ControlLoop, Execution
from reconfigure_daemon.load_generation.load_source import HttpLoad
from reconfigure_daemon.monitoring.partial_window import PartialWindow
from reconfigure_daemon.ports import Learner, LoadSource, TrialStore
from reconfigure_daemon.tuning import Means, Measuring, Moves, Proposing, Tuning


def build_tuning(
    around: Surroundings,
    loop: ControlLoop,
    trials: TrialStore,
    learner: Learner,
    load: LoadSource | None = None,
    proposing: Proposing | None = None,
) -> Tuning:
    """Sessions on the loop's engine.

    Args:
        around: what the loop stands on.
        loop: whose slot a session holds.
        trials: where trials are kept.
        learner: fits them.
        load: another source than HTTP, in a test.
        proposing: another choice than the surrogates', in a test.
    """
    settings, clock = around.settings, around.clock
    execution = Execution(lambda: settings().switch, around.meter, clock)
    moves = Moves(loop.decisions, execution, around.journal, around.metrics, clock)
    source = load or HttpLoad(lambda: str(settings().engine.arguments.get("api_key", "")))
    measuring = Measuring(around.meter, source, PartialWindow, clock)
    return Tuning(Means(loop, settings, clock, trials, learner, measuring, moves, proposing or Proposing()))
