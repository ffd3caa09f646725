"""Requests that come to a paced engine, and those that decode there meanwhile: the same tokens as unpaced, on one GPU.

    python -m benchmarks.gpu.newcomers [--pace 0.1] [--repeats 2] [--quick]

Streams decode while others arrive at random; the same requests come again and again, paced and unpaced in turn. Between
paced steps prompts are computed without those that decode, which then go on from tokens that an earlier step has left
on the card: whatever went wrong there would show in what they say. Numbers are float32, so that another batch hardly
ever tips a choice between two tokens, and no run reads what an earlier one left in the prefix cache.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from statistics import mean, median

from rich.console import Console

from benchmarks.gpu.server import SHARED, engine_changes, model_folder, target_of, use_environment
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.replay_rows import differing
from benchmarks.harness.rows import at_least, at_most, exactly
from benchmarks.harness.streams import equal_requests, failures
from reconfigure_daemon.load_generation.open_loop import replay_trace
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import RequestResult

SEED = 11

#: Those that decode all the time, and those that come meanwhile: prompt and output tokens.
STREAMS, STREAM = 24, (256, 160)
NEWCOMER, NEWCOMERS_RPS = (400, 24), 4.0


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The same requests, paced between two unpaced runs."""
    use_environment()
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-gpu-"))
    model = model_folder(arguments.engine, folder)
    sections = {"engine": {"arguments": {**SHARED, "dtype": "float32"}}}
    paced_differ: list[float] = []
    unpaced_differ: list[int] = []
    failed: list[str] = []
    tpot_s: list[float] = []
    requests = planned(arguments.pace)
    async with Daemon(arguments.engine, model, engine_changes((0, arguments.pace), sections=sections)) as daemon:
        await daemon.intend({"kind": "pause"})
        for number in range(1 if arguments.quick else arguments.repeats):
            runs = []
            for pace_s in (0, arguments.pace, 0):
                await daemon.move_to({"pacing_interval_s": pace_s, "prefix_cache_reading": False})
                runs.append(await replayed(daemon, requests, arguments.engine))
                failed += failures(runs[-1])
            first, paced, second = runs
            paced_differ.append(mean((differing(paced, first), differing(paced, second))))
            unpaced_differ.append(differing(first, second))
            tpot_s.append(median(mean(r.gaps_s) for r in paced if r.request.index < STREAMS and r.gaps_s))
            console.print(
                f"  {number} outputs that differ of {len(requests)}: {paced_differ[-1]:g} paced, {unpaced_differ[-1]} "
                f"unpaced; {1000 * tpot_s[-1]:.1f} ms a token"
            )
    return command.Findings(
        rows=[
            at_most(f"outputs that differ of {len(requests)}, paced against unpaced", mean(paced_differ),
                    mean(unpaced_differ)),
            at_least("time per token of the streams, over the pace", median(tpot_s) / arguments.pace, 0.95),
            exactly("requests that failed", len(failed), 0),
        ],
        notes=[f"The target is how many differ between two unpaced runs. Greedy, {STREAMS} streams of "
               f"{STREAM[0]} + {STREAM[1]} tokens, newcomers of {NEWCOMER[0]} + {NEWCOMER[1]}."],
        details={"paced": paced_differ, "unpaced": unpaced_differ, "tpot_s": tpot_s, "failures": failed},
    )  # fmt: skip


def planned(pace_s: float) -> list[PlannedRequest]:
    """Streams, and newcomers until the paced ones have ended."""
    draws, requests, due_s = random.Random(SEED), equal_requests(STREAMS, *STREAM), 0.5
    while due_s < pace_s * (STREAM[1] - NEWCOMER[1]):
        requests.append(PlannedRequest(len(requests), due_s, *NEWCOMER))
        due_s += draws.expovariate(NEWCOMERS_RPS)
    return requests


async def replayed(daemon: Daemon, requests: list[PlannedRequest], engine: str) -> list[RequestResult]:
    """One run, with outputs."""
    target = target_of(engine, daemon.engine_url, SEED, keep_output=True)
    return (await replay_trace(requests, target)).results


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--pace", type=float, default=0.1, help="seconds between steps (default: 0.1)")
    parser.add_argument("--repeats", type=int, default=2, help="paced runs, each between two others (default: 2)")
    return command.run("gpu.newcomers", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
