"""The discrete space against the same one searched as if it were continuous, by sessions of `tune` on a GPU.

    python -m benchmarks.gpu.spaces [--trials 20] [--rate 10] [--quick]

The study's own comparison, with trials of our own: one session of each kind, each in a daemon that has learned nothing
before, from the same start, on a Mistral-7B shape with random weights. Compared are the hypervolume of what was
measured, and how well each session's surrogates foretell the other's configurations that they never saw. A trial takes
about 8 s and a boot a minute: with 20 trials each the whole takes about 9 minutes. One pair of sessions says how the
two behave here, not which is better in general: that is what `benchmarks.optimisers` is for, over many seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gpu.closed_loop import session_of
from benchmarks.gpu.server import SHORT_REQUESTS, model_folder, use_environment
from benchmarks.gpu.trial_design import COLD_KNOB, WIDEST, settings_of
from benchmarks.harness import command
from benchmarks.harness.closed_loop import tune
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import Row, exactly
from benchmarks.harness.two_arms import ARMS, TwoArms
from reconfigure_daemon.control_api.tuning_messages import TuningView
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.surrogate import Measured, Quantity, Trial

#: Tokens per second and joules per token: worse than any configuration that is worth a trial.
REFERENCE = (500.0, 2.0)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """A session of each kind."""
    use_environment()
    model = model_folder(arguments.engine, Path(tempfile.mkdtemp(prefix="reconfigure-gpu-")))
    changes: dict[str, Any] = {
        **settings_of(COLD_KNOB, WIDEST),
        "engine": {"arguments": dict(SHORT_REQUESTS)},
        "governor": {"enabled": False},
        "learning": {"min_trials": 4 if arguments.quick else 10},
    }
    request = session_of(6 if arguments.quick else arguments.trials, arguments.rate)
    sessions: dict[str, TuningView] = {}
    for arm in ARMS:
        console.print(f"{arm}:")
        async with Daemon(arguments.engine, model, changes) as daemon:
            sessions[arm] = await tune(daemon, request.model_copy(update={"space": arm}), console)
    space = Settings.model_validate({"space": changes["space"]}).engine_space()
    compared = TwoArms(
        {arm: trials_of(of) for arm, of in sessions.items()}, space, sessions[ARMS[0]].context, REFERENCE
    )
    rows: list[Row] = [
        exactly(f"{arm}: trials measured", len(session.trials), request.trials) for arm, session in sessions.items()
    ]
    notes = [
        f"{arguments.rate:g} requests/s of {request.lengths[0]} tokens; energy {sessions[ARMS[0]].energy_source}; "
        f"hypervolume beyond {REFERENCE[0]:g} tokens/s and {REFERENCE[1]:g} J/token. One pair of sessions.",
    ]
    details = {arm: session.model_dump(mode="json") for arm, session in sessions.items()}
    return command.Findings(rows + compared.rows(), notes, details)


def trials_of(session: TuningView) -> list[Trial]:
    """A session's trials as surrogates take them."""
    return [
        Trial(
            Configuration(each.measured.configuration),
            each.measured.context,
            each.measured.at,
            {Quantity(name): Measured(value) for name, value in each.measured.measured.items()},
            each.measured.feasible,
            each.measured.reason,
        )
        for each in session.trials
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--trials", type=int, default=20, help="of each session (default: 20)")
    parser.add_argument("--rate", type=float, default=10.0, help="arrivals a second (default: 10)")
    return command.run("gpu.spaces", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
