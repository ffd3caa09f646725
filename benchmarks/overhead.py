"""The engine host against plain vLLM: throughput and time to first token, in paired runs.

    python -m benchmarks.overhead [--quick]

In each round both servers are started afresh, with the same arguments and the same model. Each has the machine for
itself while it is measured, since every process of the other is stopped (SIGSTOP) meanwhile; so the two of a pair are
seconds apart, and which of them comes first alternates: a machine that drifts favours neither. What a boot's luck with
memory does differs from round to round, so a round's pairs count as one ratio, their median. Ours is the whole product:
vLLM on the core router, with its controller watching.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.process_trees import ProcessTrees, children
from benchmarks.harness.rows import Row, at_least, at_most, exactly, shown
from benchmarks.harness.statistics import PairedRatio, paired_ratio
from benchmarks.harness.stock import stock_server
from benchmarks.harness.streams import equal_requests, failures
from reconfigure_daemon.engine_host import openmp
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.load_generation.open_loop import replay_trace
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import ReplayRun
from reconfigure_daemon.load_generation.target import Target, ask_served_model

#: All at once: the server is never short of work, and its throughput shows.
BURST = equal_requests(48, prompt_tokens=128, output_tokens=64)

#: A server that stood still is given so long to do what it had to do meanwhile.
AWAKE_S = 1.0

#: One by one: nothing queues, and the path of a first token shows.
SPARSE = equal_requests(20, prompt_tokens=128, output_tokens=4, spacing_s=0.5)


@dataclass(slots=True)
class Arm:
    """One kind of server and what was measured on it, one value per run."""

    url: str = ""
    model: str = ""
    server: ProcessTrees = field(default_factory=ProcessTrees)
    throughput_tps: list[float] = field(default_factory=list)
    cpu_s_per_token: list[float] = field(default_factory=list)
    ttft_p50_s: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    async def move_to(self, url: str, server: ProcessTrees) -> None:
        """A fresh server of this kind, which stands still until it is measured."""
        self.url, self.model, self.server = url, (await ask_served_model(url)).name, server


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Alternate between the two servers."""
    if arguments.engine == "emulated":
        raise RequestInvalid("an emulated engine has no plain vLLM beside it to compare with; leave --engine out")
    rounds, runs = (1, 2) if arguments.quick else (arguments.rounds, arguments.runs)
    ours, theirs = Arm(), Arm()
    for number in range(rounds):
        daemon = Daemon(arguments.engine, arguments.model)
        async with AsyncExitStack() as servers:
            arms = (ours, theirs) if number % 2 == 0 else (theirs, ours)
            for each in arms:
                before = children()
                if each is ours:
                    await servers.enter_async_context(daemon)
                    url = daemon.engine_url
                else:
                    folder = Path(servers.enter_context(TemporaryDirectory(prefix="reconfigure-stock-")))
                    url = await servers.enter_async_context(stock_server(daemon.settings, folder))
                await each.move_to(url, ProcessTrees.since(before))
                await warm_up(each)
                each.server.stop()
                servers.callback(each.server.go_on)  # a process that stands still could not end
            for pair in range(runs):
                for each in arms if pair % 2 == 0 else reversed(arms):
                    await measure_once(each, seed=2 + pair)
        console.print(f"round {number + 1} of {rounds}: ours {in_words(ours, runs)}; plain {in_words(theirs, runs)}")
    return findings(ours, theirs, rounds)


async def warm_up(each: Arm) -> None:
    """What the first requests allocate belongs to no run."""
    await run(each, BURST, seed=0)
    await run(each, SPARSE[:4], seed=1)


async def measure_once(each: Arm, seed: int) -> None:
    """One run of both workloads on one server; prompts are new to its prefix cache, and the same for both servers."""
    each.server.go_on()
    await asyncio.sleep(AWAKE_S)
    before_s = each.server.cpu_s()
    burst = await run(each, BURST, seed=2 * seed)
    used_s = each.server.cpu_s() - before_s
    sparse = await run(each, SPARSE, seed=2 * seed + 1)
    each.server.stop()
    tokens = sum(result.output_tokens for result in burst.results)
    each.throughput_tps.append(tokens / burst.duration_s)
    each.cpu_s_per_token.append(used_s / tokens)
    each.ttft_p50_s.append(median(result.ttft_s for result in sparse.results if result.ttft_s is not None))


async def run(each: Arm, requests: Sequence[PlannedRequest], seed: int) -> ReplayRun:
    """Send a workload to one server."""
    ended = await replay_trace(requests, Target(each.url, each.model, seed=seed))
    each.bad += failures(ended.results)
    return ended


def in_words(each: Arm, runs: int) -> str:
    """The latest runs of a server."""
    return (
        f"{median(each.throughput_tps[-runs:]):.0f} tokens/s, TTFT {1000 * median(each.ttft_p50_s[-runs:]):.1f} ms, "
        f"{1000 * median(each.cpu_s_per_token[-runs:]):.2f} CPU ms a token"
    )


def findings(ours: Arm, theirs: Arm, rounds: int) -> command.Findings:
    """Rows from all pairs."""
    throughput = ratio_of_rounds(ours.throughput_tps, theirs.throughput_tps, rounds)
    ttft = ratio_of_rounds(ours.ttft_p50_s, theirs.ttft_p50_s, rounds)
    cpu = ratio_of_rounds(ours.cpu_s_per_token, theirs.cpu_s_per_token, rounds)
    return command.Findings(
        rows=[
            at_least("output throughput, engine host over plain vLLM", throughput.median, 0.99),
            *interval_rows("output throughput", throughput),
            at_most("TTFT p50, engine host over plain vLLM", ttft.median, 1.02),
            *interval_rows("TTFT p50", ttft),
            shown("CPU time per output token of all processes, engine host and controller over plain vLLM", cpu.median),
            *interval_rows("CPU time", cpu),
            shown("output throughput of plain vLLM", median(theirs.throughput_tps), "tokens/s"),
            shown("TTFT p50 of plain vLLM", median(theirs.ttft_p50_s), "s"),
            exactly("requests that failed on either server", len(ours.bad) + len(theirs.bad), 0),
        ],
        notes=[
            f"{throughput.pairs} fresh starts of both servers, {len(ours.throughput_tps)} paired runs: a start's ratio "
            "is the median of its runs'; intervals are 95 % bootstrap intervals over the starts.",
            f"On a CPU both have one OpenMP thread on each core, and GOMP_SPINCOUNT={openmp.SPINS}: vLLM's own choice "
            "leaves one core out.",
        ],
        details={
            "throughput_tps": {"ours": ours.throughput_tps, "plain": theirs.throughput_tps},
            "cpu_s_per_token": {"ours": ours.cpu_s_per_token, "plain": theirs.cpu_s_per_token},
            "ttft_p50_s": {"ours": ours.ttft_p50_s, "plain": theirs.ttft_p50_s},
            "failures": ours.bad + theirs.bad,
        },
    )


def ratio_of_rounds(ours: Sequence[float], theirs: Sequence[float], rounds: int) -> PairedRatio:
    """The median of the rounds' ratios, each the median of its pairs, with an interval over the rounds."""
    ratios, runs = [one / other for one, other in zip(ours, theirs, strict=True)], len(ours) // rounds
    of_rounds = [median(ratios[first : first + runs]) for first in range(0, len(ratios), runs)]
    return paired_ratio(of_rounds, [1.0] * len(of_rounds))


def interval_rows(what: str, ratio: PairedRatio) -> list[Row]:
    """The interval of a ratio."""
    return [
        shown(f"{what}: lower end of the ratio's interval", ratio.low),
        shown(f"{what}: upper end of the ratio's interval", ratio.high),
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="fresh starts of both servers (default: 6)")
    parser.add_argument("--runs", type=int, default=4, help="runs on each server in each round (default: 4)")
    return command.run("overhead", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
