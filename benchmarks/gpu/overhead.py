"""What the governor itself costs a full engine, in throughput and in processor time: on and off in turn, on one GPU.

    python -m benchmarks.gpu.overhead [--requests 600] [--repeats 5] [--keep FILE] [--quick]

One daemon works through the queue of `benchmarks.gpu.saturated` again and again. Governed, its controller reads the
engine and the GPU's counter, learns and decides as always, and finds that a full engine leaves nothing to save; paused,
at the same knobs, it only watches. What is missing between the two is the governor's own. The TPOT limit is one that
whole steps of the largest budget keep: for a tighter one the governor would trade throughput, as it was asked to.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gpu.saturated import not_completed, queue_options, steady_rate_tps, through_the_queue
from benchmarks.gpu.server import FASTEST, engine_changes, model_folder, use_environment
from benchmarks.gpu.trace import CORE_LIMIT, PACES_S
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import at_least, below, exactly, interval_rows
from benchmarks.harness.statistics import paired_ratio

NAME = "gpu.overhead"
LEAST_THROUGHPUT = 0.99
HOT = ("pacing_interval_s", "max_num_seqs", "max_num_batched_tokens")
ARMS = ("paused", "governed")


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The same queue with the governor on and off, in alternating order."""
    use_environment()
    model = model_folder(arguments.engine, Path(tempfile.mkdtemp(prefix="reconfigure-gpu-")))
    sections: dict[str, Any] = {"slo": {"ttft_s": 1.0, "tpot_s": 1.0}, "governor": {"enabled": True}}
    rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
    cores: list[float] = []
    failed = 0
    async with Daemon(arguments.engine, model, engine_changes(PACES_S, sections=sections)) as daemon:
        for number in range(-1, 1 if arguments.quick else arguments.repeats):
            for arm in ARMS[:: 1 if number % 2 else -1]:
                await daemon.move_to({knob: FASTEST[knob] for knob in HOT})
                await daemon.intend({"kind": "resume" if arm == "governed" else "pause"})
                began_s, used_s = time.monotonic(), daemon.controller_worked_s()
                run = await through_the_queue(arguments, daemon.engine_url, number, arm)
                core = (daemon.controller_worked_s() - used_s) / (time.monotonic() - began_s)
                if number >= 0:  # the first round only warms up
                    rate_tps = steady_rate_tps(run)
                    console.print(f"  {number:3d} {arm:8s} {rate_tps:.0f} output tokens/s, controller {core:.4f} cores")
                    rates[arm].append(rate_tps)
                    failed += not_completed(run)
                    cores += [core] if arm == "governed" else []
            if number >= 0:
                command.keep(NAME, arguments, findings_of(rates, cores, failed))
    return findings_of(rates, cores, failed)


def findings_of(rates: Mapping[str, Sequence[float]], cores: Sequence[float], failed: int) -> command.Findings:
    """The figures of all rounds so far."""
    ratio = paired_ratio(rates["governed"], rates["paused"])
    rows = [
        at_least(f"saturated throughput, governed / paused, median of {ratio.pairs} pairs", ratio.median,
                 LEAST_THROUGHPUT),
        *interval_rows(ratio),
        below("the controller's processor time, governed", sum(cores) / len(cores), CORE_LIMIT, "cores"),
        exactly("requests not completed", failed, 0),
    ]  # fmt: skip
    return command.Findings(rows, [], {"output_tokens_per_s": dict(rates), "controller_cores": [*cores]})


def main() -> int:
    """The command."""
    parser = queue_options(__doc__, repeats=5, requests=600)
    command.keep_option(parser, "round")
    return command.run(NAME, parser, measure)


if __name__ == "__main__":
    sys.exit(main())
