"""Throughput of a full engine: the daemon under the throughput objective against stock `vllm serve`, on one GPU.

    python -m benchmarks.gpu.saturated [--requests 2400] [--repeats 3] [--with quantization=fp8] [--quick]
    python -m benchmarks.gpu.saturated --max-prompt-tokens 128 --caps 256 --with cudagraph_mode=FULL

All requests arrive at once, with the lengths of Azure's conversations; output tokens count from the moment when a fifth
of them has come until four fifths have, or until the last request has its first token, if that is earlier: from then on
no prompt is left, and decoding alone is faster than serving. A queue that is too short for such a stretch is refused.
The arms take turns, in alternating order. Both servers stand on the card; the one that has nothing to do takes no time
from the other. What the throughput objective may use beyond stock's arguments is named by `--with`: an operator's space
decides that as well. The second command cuts prompts so short that a step is over on the GPU before the host has
launched its kernels one by one; its result has a name of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from rich.console import Console

from benchmarks.gpu.server import (
    add_further_option,
    engine_changes,
    further_in_words,
    further_of,
    model_folder,
    stock_arm,
    target_of,
    use_environment,
    with_further,
)
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import Row, at_least, exactly, interval_rows, shown
from benchmarks.harness.statistics import paired_ratio
from benchmarks.harness.trace import plan_of
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.load_generation.open_loop import ReplayRun, replay_trace
from reconfigure_daemon.load_generation.plan import PlannedRequest, PlanOptions
from reconfigure_daemon.load_generation.results import RequestStatus

#: Tokens before the first and after the second share of all are start and end, not steady state.
STEADY = (0.2, 0.8)

#: Of the tokens, that the steady state has to hold at least.
LEAST_SHARE = 0.2
NAME, NAME_OF_SHORT = "gpu.saturated", "gpu.saturated_short"
TARGET = 1.05


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Start both servers and let them work through the same queue in turn."""
    use_environment()
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-gpu-"))
    model = model_folder(arguments.engine, folder)
    sections = {"start_objective": "throughput"}
    changes = engine_changes(caps=arguments.caps, sections=sections, further=further_of(arguments))
    async with stock_arm(arguments.engine, model, folder) as stock, Daemon(arguments.engine, model, changes) as daemon:
        console.print("stock vLLM and the daemon serve")
        arms = {"stock": stock, "daemon": daemon.engine_url}
        rates: dict[str, list[float]] = {arm: [] for arm in arms}
        failed = 0
        for number in range(-1, 1 if arguments.quick else arguments.repeats):
            for arm in list(arms)[:: 1 if number % 2 else -1]:
                run = await through_the_queue(arguments, arms[arm], number, arm)
                if number >= 0:  # the first round only warms both up
                    rate_tps = steady_rate_tps(run)
                    console.print(f"  {number:3d} {arm:7s} {rate_tps:.0f} output tokens/s")
                    rates[arm].append(rate_tps)
                    failed += not_completed(run)
    beyond = further_in_words(arguments) or "nothing"
    cap = f"The daemon's cap is {arguments.caps[-1]}, stock's is what vLLM takes for the card (1024 from 70 GiB on)."
    notes = [f"The throughput objective has {beyond} beyond stock's arguments.", cap]
    return command.Findings(rows_of(rates["daemon"], rates["stock"], failed), notes, {"output_tokens_per_s": rates})


async def through_the_queue(arguments: argparse.Namespace, url: str, number: int, arm: str) -> ReplayRun:
    """One round of one arm; a round below 0 only warms up, and is short."""
    target = target_of(arguments.engine, url, 100 * (number + 2) + len(arm))
    return await replay_trace(at_once(arguments, 60 if number < 0 else arguments.requests), target)


def not_completed(run: ReplayRun) -> int:
    """Requests that did not get all their tokens."""
    return sum(result.status is not RequestStatus.COMPLETED for result in run.results)


def at_once(arguments: argparse.Namespace, count: int) -> list[PlannedRequest]:
    """Requests of the trace, all due now."""
    longest = arguments.max_prompt_tokens
    options = PlanOptions(start_s=arguments.start, requests=count, max_prompt_tokens=longest)
    plan = plan_of(arguments.trace, options)
    return [replace(request, due_s=0.0) for request in plan.requests]


def steady_rate_tps(run: ReplayRun) -> float:
    """Output tokens each second while prompts were waiting.

    Raises:
        RequestInvalid: if that was for too few of the tokens.
    """
    moments_s = sorted(
        moment_s
        for result in run.results
        if result.first_output_s is not None
        for moment_s in accumulate(result.gaps_s, initial=result.first_output_s)
    )
    last_begun_s = max((r.first_output_s for r in run.results if r.first_output_s is not None), default=0.0)
    first, last = (int(share * (len(moments_s) - 1)) for share in STEADY)
    last = min(last, bisect_right(moments_s, last_begun_s) - 1)
    if last - first < LEAST_SHARE * len(moments_s):
        raise RequestInvalid(
            f"the last of {len(run.results)} requests began after {last_begun_s:.0f} s, before a fifth of the tokens "
            f"and another {LEAST_SHARE:.0%} had come: the queue was not full for long enough, take more with --requests"
        )
    return (last - first) / (moments_s[last] - moments_s[first])


def rows_of(ours_tps: Sequence[float], theirs_tps: Sequence[float], failed: int) -> list[Row]:
    """The ratio with its interval."""
    ratio = paired_ratio(ours_tps, theirs_tps)
    return [
        at_least(f"saturated throughput, daemon / stock, median of {ratio.pairs} pairs", ratio.median, TARGET),
        *interval_rows(ratio),
        shown("output tokens/s, stock", sum(theirs_tps) / len(theirs_tps)),
        shown("output tokens/s, daemon", sum(ours_tps) / len(ours_tps)),
        exactly("requests not completed", failed, 0),
    ]


def queue_options(doc: str | None, repeats: int, requests: int) -> argparse.ArgumentParser:
    """What every command takes that works through the queue."""
    parser = command.options(doc)
    parser.add_argument("--trace", default="azure_2023_conv.csv.gz")
    parser.add_argument("--start", type=float, default=600.0, help="seconds into the trace (default: 600)")
    in_queue = f"in the queue of each run (default: {requests})"
    parser.add_argument("--requests", type=int, default=requests, help=in_queue)
    parser.add_argument("--max-prompt-tokens", type=int, help="longer prompts are cut to this (default: not at all)")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"runs per arm (default: {repeats})")
    return parser


def name_of(arguments: argparse.Namespace) -> str:
    """The result's name, with the short prompts and what `--with` allows behind."""
    return with_further(NAME_OF_SHORT if arguments.max_prompt_tokens else NAME, arguments)


def main() -> int:
    """The command."""
    parser = queue_options(__doc__, repeats=3, requests=2400)
    add_further_option(parser, "the throughput objective")
    parser.add_argument("--caps", type=int, nargs="+", default=[256, 1024], help="running caps; the largest is used")
    return command.run(name_of, parser, measure)


if __name__ == "__main__":
    sys.exit(main())
