"""The closed loop on this machine: twenty trials on the running engine, then two changes under a replay.

    python -m benchmarks.closed_loop [--trials 20] [--rounds 4] [--engine emulated] [--quick]

`tune` measures a small space, hot and cold knobs, and what it found is measured again beside the default configuration,
in turn. Then streams run while an operator asks for energy and the calendar brings throughput back: none of them may be
lost. Without an energy counter joules are estimated from the processors' measured work, and say so; throughput is
measured either way.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.closed_loop import WINDOWS, Plan, closed_loop, options
from reconfigure_daemon.tuning import TuneRequest

LENGTHS = [(48, 24)]
SPACE = {
    "max_num_seqs": {"values": [2, 4, 8, 16, 32, 64], "default": 64},
    "max_num_batched_tokens": {"values": [256, 512, 1024, 2048], "default": 2048},
    "long_prefill_token_threshold": {"values": [0], "default": 0},
    "prefix_cache_reading": {"values": [True], "default": True},
    "pacing_interval_s": {"values": [0, 0.1], "default": 0},
    "block_size": {"values": [32, 64], "default": 32},
}
START = {"max_num_seqs": 64, "max_num_batched_tokens": 2048, "pacing_interval_s": 0, "block_size": 32,
         "long_prefill_token_threshold": 0}  # fmt: skip


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The whole loop."""
    request = TuneRequest(
        trials=10 if arguments.quick else arguments.trials,
        lengths=LENGTHS,
        arrival_rate_rps=arguments.rate,
        settle_s=1.0 if arguments.quick else 1.5,
        window_s=3.0 if arguments.quick else 10.0,
        saturated_s=2.0 if arguments.quick else 3.0,
    )
    changes: dict[str, Any] = {
        "space": SPACE,
        "objectives": dict.fromkeys(("energy", "throughput", "balanced"), START),
        "monitoring": WINDOWS,
        "learning": {"min_trials": 4 if arguments.quick else 8},
    }
    rounds = 1 if arguments.quick else arguments.rounds
    plan = Plan(changes, arguments.model, request, rounds, replay_rps=arguments.rate / 2)
    return await closed_loop(plan, arguments.engine, console)


def main() -> int:
    """The command."""
    parser = options(__doc__, trials=20, rate_rps=4.0)
    return command.run("closed_loop", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
