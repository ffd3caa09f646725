"""What the controller costs while nothing happens: its share of a core and its memory.

    python -m benchmarks.footprint [--quick]

The engine serves and has no traffic. The controller alone is measured: not the engine host, not its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import psutil
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import below, shown

SETTLE_S = 15.0
MEGABYTE = 1e6


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """One daemon at rest."""
    span_s = 10.0 if arguments.quick else arguments.seconds
    async with Daemon(arguments.engine, arguments.model) as daemon:
        await asyncio.sleep(SETTLE_S)  # start-up leaves work behind
        controller = psutil.Process(daemon.controller.pid)
        console.print(f"measuring controller {controller.pid} at rest for {span_s:g} s")
        began_s, cpu_s = time.monotonic(), cpu_time_s(controller)
        await asyncio.sleep(span_s)
        share = (cpu_time_s(controller) - cpu_s) / (time.monotonic() - began_s)
        resident_mb = controller.memory_info().rss / MEGABYTE
        threads = controller.num_threads()
    return command.Findings(
        rows=[
            below("controller at rest: share of a core", 100 * share, 1, "%"),
            below("controller at rest: resident memory", resident_mb, 150, "MB"),
            shown("threads of the controller", threads),
        ],
        notes=[f"Over {span_s:g} s without traffic; sampling its engine and meter as often as `config.yaml` ships."],
    )


def cpu_time_s(process: psutil.Process) -> float:
    """Seconds of a core that a process has used, in itself and in the kernel."""
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to measure (default: 120)")
    return command.run("footprint", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
