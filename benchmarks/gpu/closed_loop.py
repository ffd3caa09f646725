"""The closed loop on a GPU, with joules measured: trials, hot and cold knobs, then two changes under a replay.

    python -m benchmarks.gpu.closed_loop [--trials 40] [--rounds 4] [--rate 10] [--quick]

As `benchmarks.closed_loop`, on a Mistral-7B shape with random weights, from 256 sequences and 8192 tokens without a
pace, which are close to vLLM's own defaults. A trial takes about 8 s, a boot 10 to 60 s and the replay 4 minutes: with
40 trials the whole takes about 17 minutes, with `--trials 12 --rounds 2` about 9. Nothing is written before the end.
Energy is the GPU's own counter, over the whole session.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gpu.server import SHORT_REQUESTS, model_folder, use_environment
from benchmarks.gpu.trial_design import WIDEST, settings_of
from benchmarks.harness import command
from benchmarks.harness.closed_loop import WINDOWS, Plan, closed_loop, options
from reconfigure_daemon.tuning import TuneRequest

#: It boots in seconds, so that more trials fit; here nothing is foretold that the host's processors could spoil.
COLD_KNOB = {"enforce_eager": (False, True)}

LENGTHS = [(128, 64)]


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The whole loop."""
    use_environment()
    model = model_folder(arguments.engine, Path(tempfile.mkdtemp(prefix="reconfigure-gpu-")))
    request = session_of(10 if arguments.quick else arguments.trials, arguments.rate)
    changes: dict[str, Any] = {
        **settings_of(COLD_KNOB, WIDEST),
        "engine": {"arguments": dict(SHORT_REQUESTS)},
        "monitoring": WINDOWS,
        "learning": {"min_trials": 4 if arguments.quick else 10},
    }
    rounds = 1 if arguments.quick else arguments.rounds
    plan = Plan(changes, model, request, rounds, replay_rps=arguments.rate)
    return await closed_loop(plan, arguments.engine, console)


def session_of(trials: int, rate_rps: float) -> TuneRequest:
    """A session with short windows: what a GPU does in seconds is steady."""
    return TuneRequest(
        trials=trials, lengths=LENGTHS, arrival_rate_rps=rate_rps, settle_s=1.0, window_s=4.0, saturated_s=2.0
    )


def main() -> int:
    """The command."""
    parser = options(__doc__, trials=40, rate_rps=10.0)
    return command.run("closed_loop_h200", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
