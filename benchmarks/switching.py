"""Switches in the middle of a recorded workload, and what its requests notice.

    python -m benchmarks.switching [--quick]

Three replays of the same requests, scaled to the machine, each on a fresh engine: one with switches, hot and cold in
turn, overlapped and then sequential, and two without. Greedy outputs are compared token for token. Where batching
alone changes the numbers, the two runs without switches differ, too, and the switched one may differ from them in no
more requests. Then streams of equal length live through overlapped switches, and their clients time how long each
stood still at the cut.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.cut_over import cut_rows, streams_through_cuts
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.replay_rows import identity_rows, latency_rows, loss_rows
from benchmarks.harness.rows import Row, at_least, exactly, shown
from benchmarks.harness.statistics import percentile
from benchmarks.harness.streams import failures, running_streams
from benchmarks.harness.switches import Switches
from benchmarks.harness.trace import plan_of
from reconfigure_daemon.load_generation.plan import PlannedRequest, PlanOptions
from reconfigure_daemon.load_generation.results import RequestResult
from reconfigure_daemon.ports import SwitchMode

TRACE = "azure_2023_conv.csv.gz"
SEED = 5

#: The type of the numbers: wide enough that two tokens are hardly ever as likely as each other, which is where
#: another batch could tip the choice.
DTYPE = "float32"

#: Of five switches in a row two are cold; the last quarter of these is sequential.
COLD_IN_TURN = (False, True, False, True, False)
SEQUENTIAL_SHARE = 0.25

#: Cold values that take turns, and hot ones that leave the scaled workload room, the one at start first.
COLD = ("block_size", (64, 32))
HOT: dict[str, tuple[Any, ...]] = {
    "max_num_seqs": (64, 32, 16),
    "max_num_batched_tokens": (2048, 1024, 512),
    "long_prefill_token_threshold": (0, 256),
    "pacing_interval_s": (0, 0.01, 0.02),
    "prefix_cache_reading": (True, False),
}


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The replays, then the cut."""
    requests = scaled(arguments)
    wanted = 5 if arguments.quick else arguments.switches
    console.print(f"{len(requests)} requests over {requests[-1].due_s:.0f} s, with {wanted} switches")
    switches = Switches()
    async with daemon_for(arguments) as daemon:
        switched = await switched_replay(daemon, requests, wanted, switches, console)
    unswitched = []
    for run in (1, 2):
        console.print(f"the same requests without switches, run {run} of 2")
        async with daemon_for(arguments) as daemon:
            unswitched.append(await replay(daemon, requests))
    async with Daemon(arguments.engine, arguments.model, {"switch": {"mode": SwitchMode.OVERLAPPED.value}}) as daemon:
        changes = [cold_change(number) for number in range(2 if arguments.quick else arguments.cuts)]
        cuts = await streams_through_cuts(daemon, changes, console)
    return command.Findings(
        rows=[
            *switch_rows(switches, wanted),
            *loss_rows(switched),
            *identity_rows(switched, *unswitched),
            *cut_rows(cuts),
            *latency_rows(switched, unswitched),
        ],
        notes=[
            f"{TRACE}, {len(requests)} requests in {requests[-1].due_s:.0f} s, lengths times "
            f"{arguments.scale_tokens:g}, prompts to {arguments.max_prompt}, outputs to {arguments.max_output} tokens; "
            f"numbers in {DTYPE}, at the cuts in the model's own type.",
            "Outputs that differ: of the switched run against the mean of both others. Stall: the longest time "
            f"without output that a client saw while streams moved; {len(cuts.stalls_s)} of them.",
        ],
        details={
            "switches": switches.made,
            "stalls_s": cuts.stalls_s,
            "host_stalls_s": cuts.host_stalls_s,
            "failures": failures(switched) + cuts.bad,
        },
    )


def daemon_for(arguments: argparse.Namespace) -> Daemon:
    """A fresh daemon and engine, for outputs that are compared."""
    return Daemon(arguments.engine, arguments.model, {"engine": {"arguments": {"dtype": DTYPE}}})


def scaled(arguments: argparse.Namespace) -> list[PlannedRequest]:
    """The trace as this machine can serve it: fewer and shorter requests, arriving as irregularly as recorded."""
    options = PlanOptions(
        limit_s=90.0 if arguments.quick else 60.0 * arguments.minutes,
        sample=arguments.sample,
        scale_tokens=arguments.scale_tokens,
        max_prompt_tokens=arguments.max_prompt,
        max_output_tokens=arguments.max_output,
    )
    return plan_of(TRACE, options).requests


async def replay(daemon: Daemon, requests: list[PlannedRequest]) -> list[RequestResult]:
    """Every request to its end, with its output."""
    async with running_streams(requests, await daemon.target(keep_output=True), to_the_end=True) as streams:
        pass
    return streams.results


async def switched_replay(
    daemon: Daemon, requests: list[PlannedRequest], count: int, switches: Switches, console: Console
) -> list[RequestResult]:
    """The replay with switches spread over it."""
    period_s = requests[-1].due_s / (count + 1)
    mode = SwitchMode.AUTO
    async with running_streams(requests, await daemon.target(keep_output=True), to_the_end=True) as streams:
        for number, (changes, wanted_mode) in enumerate(schedule(count), start=1):
            if wanted_mode is not None and wanted_mode is not mode:
                mode = wanted_mode
                await daemon.force_mode(mode)
            due_s = streams.origin_s + number * period_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            made = await switches.make(daemon, changes)
            switches.while_arriving += time.monotonic() - streams.origin_s < requests[-1].due_s
            console.print(f"switch {number} of {count}: {made}")
    return streams.results


def schedule(count: int) -> Iterator[tuple[dict[str, Any], SwitchMode | None]]:
    """What to change, and in which mode if it is cold."""
    draws, hot = random.Random(SEED), {name: values[0] for name, values in HOT.items()}
    turns = [COLD_IN_TURN[number % len(COLD_IN_TURN)] for number in range(count)]
    sequential_from = sum(turns) - math.ceil(SEQUENTIAL_SHARE * sum(turns))
    cold = 0
    for is_cold in turns:
        if is_cold:
            yield cold_change(cold), SwitchMode.OVERLAPPED if cold < sequential_from else SwitchMode.SEQUENTIAL
            cold += 1
        else:
            changes = hot_change(draws, hot)
            hot |= changes
            yield changes, None


def cold_change(number: int) -> dict[str, Any]:
    """The next of the cold values."""
    name, values = COLD
    return {name: values[number % len(values)]}


def hot_change(draws: random.Random, before: Mapping[str, Any]) -> dict[str, Any]:
    """Some hot knobs at once, each with another of its values."""
    names = draws.sample(sorted(HOT), k=draws.randint(1, 3))
    return {name: draws.choice([value for value in HOT[name] if value != before[name]]) for name in names}


def switch_rows(switches: Switches, wanted: int) -> list[Row]:
    """That the switches were made as planned, and what they took."""
    modes = [mode or "hot" for _, mode in schedule(wanted)]
    rows = [
        at_least("switches while requests arrived", switches.while_arriving, wanted),
        exactly("switches that were not applied", len(switches.not_applied), 0),
    ]
    for kind in ("hot", SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL):
        durations_s = switches.durations_s(kind)
        rows += [
            exactly(f"{kind} switches", len(durations_s), modes.count(kind)),
            shown(f"{kind} switch from request to end, p50", percentile(durations_s, 0.5), "s"),
        ]
    return [
        *rows,
        shown("live requests moved by cold switches", switches.total("live_requests")),
        exactly("live requests moved inexactly", switches.total("inexact_requests"), 0),
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--switches", type=int, default=50, help="during the replay (default: 50)")
    parser.add_argument("--minutes", type=float, default=8.0, help="of arrivals (default: 8)")
    parser.add_argument("--sample", type=float, default=0.1, help="share of the trace's requests (default: 0.1)")
    parser.add_argument("--scale-tokens", type=float, default=0.2, help="of its lengths (default: 0.2)")
    parser.add_argument("--max-prompt", type=int, default=256, help="longer prompts are cut (default: 256)")
    parser.add_argument("--max-output", type=int, default=96, help="longer outputs are cut (default: 96)")
    parser.add_argument("--cuts", type=int, default=10, help="overlapped switches under streams (default: 10)")
    return command.run("switching", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
