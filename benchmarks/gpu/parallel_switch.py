"""From all GPUs of a machine to one and back, under live streams: nothing lost, and how long a stream stands.

    python -m benchmarks.gpu.parallel_switch [--gpus 4] [--streams 64] [--repeats 2] [--replicas] [--quick]

What an operator gets who lets the night run on one GPU. The engine, the streams and the measures are those of
`benchmarks.gpu.switch`; the knob is `tensor_parallel_size`, from all GPUs to one and back, with the two cores side by
side and, once, one after the other. Another number of GPUs adds up in another order, so that sampled tokens may differ
in bfloat16 without anything being lost: what is compared is how many tokens came. With `--replicas` the knob is
`data_parallel_size`, a replica of the model on each GPU: each adds up as one GPU does, but for batches of another size,
and tokens are compared, too.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.gpu.switch import STALL_NOTE, Run, open_laboratory, settings_of
from benchmarks.harness import command
from benchmarks.harness.machine import gpus_to_use
from benchmarks.harness.rows import exactly, shown
from reconfigure_daemon.ports import SwitchMode
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.parallelism import DATA_PARALLEL, TENSOR_PARALLEL

NAME = "gpu.parallel_switch"

#: On each GPU, so that a core on one of them has room beside one on all.
KV_CACHE_BYTES = 16 * 2**30


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Down to one GPU and up again, as often as asked."""
    most = gpus_to_use(arguments.gpus)
    knob, short = (DATA_PARALLEL, "DP") if arguments.replicas else (TENSOR_PARALLEL, "TP")
    laboratory = await open_laboratory(arguments, console, partial(settings_for, knob, most))
    await laboratory.streams(8)  # compiles what the first streams need
    expected = [await laboratory.streams(arguments.streams) for _ in range(2)] if arguments.replicas else []
    ways = {f"{short}={most} to {short}=1": 1, f"{short}=1 to {short}={most}": most}
    runs: dict[str, list[Run]] = {}
    for _ in range(1 if arguments.quick else arguments.repeats):
        for name, to in ways.items():
            run = await laboratory.streams_over(arguments.streams, {knob: to})
            runs.setdefault(f"{name}, overlapped", []).append(run)
    for name, to in ways.items():
        change = partial(laboratory.switch, {knob: to}, SwitchMode.SEQUENTIAL)
        runs[f"{name}, sequential"] = [await laboratory.streams_and(arguments.streams, change)]
    laboratory.engine.shutdown()
    findings = command.Findings(notes=[STALL_NOTE])
    for name, alike in runs.items():
        add_rows(name, alike, arguments.streams, expected, findings)
    return findings


def settings_for(knob: str, gpus: int, model: Path) -> Settings:
    """Begin on all GPUs."""
    return settings_of(model, KV_CACHE_BYTES, {knob: {"values": [1, gpus], "default": gpus}})


def add_rows(name: str, runs: list[Run], streams: int, expected: list[Run], findings: command.Findings) -> None:
    """One direction and one way to go it; `expected` are two runs without a switch, where tokens can be compared."""
    reports = [run.report for run in runs if run.report is not None]
    stalls_s = [report.stall_s[1] for report in reports if report.stall_s]
    what = f"{name}, {streams} live streams"
    findings.rows += [
        exactly(f"{what}: switches applied", sum(report.outcome == "applied" for report in reports), len(runs)),
        exactly(f"{what}: streams lost or cut short", sum(run.cut_short() for run in runs), 0),
        exactly(f"{what}: streams moved", sum(report.live_requests for report in reports), streams * len(runs)),
        shown(f"{what}: stall p95, worst switch", max(stalls_s, default=None), "s"),
        shown(f"{what}: longest gap of a stream", max(max(run.gaps_s) for run in runs), "s"),
    ]  # fmt: skip
    if expected:
        unswitched, again = expected
        findings.rows += [
            shown(f"{what}: streams with other tokens than unswitched", sum(run.differing(unswitched) for run in runs)),
            shown(f"{what}: the same between two unswitched runs", again.differing(unswitched)),
        ]
    findings.details[name] = [run.details() for run in runs]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--gpus", type=int, default=0, help="to begin with (default: all of the machine)")
    parser.add_argument("--streams", type=int, default=64, help="live at each switch (default: 64)")
    parser.add_argument("--repeats", type=int, default=2, help="times down and up (default: 2)")
    parser.add_argument("--replicas", action="store_true", help="a replica of the model on each GPU, instead of TP")
    return command.run(lambda arguments: f"{NAME}_dp" if arguments.replicas else NAME, parser, measure)


if __name__ == "__main__":
    sys.exit(main())
