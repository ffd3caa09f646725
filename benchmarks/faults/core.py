"""`kill -9` of the EngineCore, again and again, while requests arrive; the engine host brings them through."""

from __future__ import annotations

import argparse
import asyncio
import random

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.arrivals import arriving
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import exactly, shown
from benchmarks.harness.statistics import percentile
from benchmarks.kills import deployment, kill_process_of, replaced
from reconfigure_daemon.errors import RequestInvalid

SEED = 19

#: More than are killed: what is asked here is what becomes of requests, not when the host gives up.
RESTARTS = 1000


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Kills at random moments of ordinary work."""
    if arguments.engine != "vllm":
        raise RequestInvalid("the emulated engine's core is no process of its own; leave --engine emulated out")
    count = 2 if arguments.quick else arguments.kills
    draws, boots_s, lived = random.Random(SEED), [], 0
    async with (
        Daemon("vllm", arguments.model, {"switch": {"core_restarts": RESTARTS}}) as daemon,
        arriving(daemon, 120.0 * count) as arrivals,
    ):
        for kill in range(count):
            await asyncio.sleep(draws.uniform(1.0, 4.0))
            host, before = await daemon.host(), await deployment(daemon)
            lived += host.live_requests
            kill_process_of(host.pid, before)
            boots_s.append((await replaced(daemon, before)).boot_s)
            console.print(f"core {kill + 1} of {count} killed under {host.live_requests} requests")
        await asyncio.sleep(10)  # those that were live at the last kill go on
        lost = (await daemon.host()).lost_requests
    return command.Findings(
        rows=[
            shown("EngineCore killed: times", count),
            exactly("EngineCore killed: requests lost or broken", len(arrivals.bad), 0),
            exactly("EngineCore killed: requests that the host counts as lost", lost, 0),
            shown("EngineCore killed: requests live at the kills", lived),
            shown("EngineCore killed: requests completed meanwhile", arrivals.completed),
            shown("EngineCore killed: boot of the next core, p50", percentile(boots_s, 0.5), "s"),
        ],
        details={"boots_s": boots_s, "requests": dict(arrivals.by_status), "failures": arrivals.bad},
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How often."""
    parser.add_argument("--kills", type=int, default=20, help="cores to kill (default: 20)")
