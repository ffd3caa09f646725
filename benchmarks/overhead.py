"""The engine host against plain vLLM: throughput and time to first token, in paired runs.

    python -m benchmarks.overhead [--quick]

In each round each server is started afresh, with the same arguments and the same model, and has the machine for itself
while it is measured; which of the two comes first alternates, so that a machine that drifts favours neither. Ours is
the whole product: vLLM on the core router, with its controller watching.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
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

#: One by one: nothing queues, and the path of a first token shows.
SPARSE = equal_requests(24, prompt_tokens=128, output_tokens=4, spacing_s=0.5)


@dataclass(slots=True)
class Arm:
    """One kind of server and what was measured on it, one value per run."""

    url: str = ""
    model: str = ""
    throughput_tps: list[float] = field(default_factory=list)
    cpu_s_per_token: list[float] = field(default_factory=list)
    ttft_p50_s: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    async def move_to(self, url: str) -> None:
        """A fresh server of this kind."""
        self.url, self.model = url, (await ask_served_model(url)).name


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Alternate between the two servers."""
    if arguments.engine == "emulated":
        raise RequestInvalid("an emulated engine has no plain vLLM beside it to compare with; leave --engine out")
    rounds, runs = (1, 2) if arguments.quick else (arguments.rounds, arguments.runs)
    ours, theirs = Arm(), Arm()
    for number in range(rounds):
        daemon = Daemon(arguments.engine, arguments.model)
        for each in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            async with AsyncExitStack() as servers:
                if each is ours:
                    await servers.enter_async_context(daemon)
                    await ours.move_to(daemon.engine_url)
                else:
                    folder = Path(servers.enter_context(TemporaryDirectory(prefix="reconfigure-stock-")))
                    await theirs.move_to(await servers.enter_async_context(stock_server(daemon.settings, folder)))
                await measure_runs(each, runs)
            console.print(
                f"round {number + 1} of {rounds}, {'ours' if each is ours else 'plain'}: {in_words(each, runs)}"
            )
    return findings(ours, theirs, rounds)


async def measure_runs(each: Arm, runs: int) -> None:
    """All runs on one fresh server."""
    await run(each, BURST, seed=0)  # what the first requests allocate belongs to no run
    await run(each, SPARSE[:4], seed=1)
    for number in range(runs):
        await measure_once(each, seed=2 + number)


async def measure_once(each: Arm, seed: int) -> None:
    """One run of both workloads on one server; prompts are new to its prefix cache, and the same for both servers."""
    before_s = servers_cpu_s()
    burst = await run(each, BURST, seed=2 * seed)
    used_s = servers_cpu_s() - before_s
    sparse = await run(each, SPARSE, seed=2 * seed + 1)
    tokens = sum(result.output_tokens for result in burst.results)
    each.throughput_tps.append(tokens / burst.duration_s)
    each.cpu_s_per_token.append(used_s / tokens)
    each.ttft_p50_s.append(median(result.ttft_s for result in sparse.results if result.ttft_s is not None))


async def run(each: Arm, requests: Sequence[PlannedRequest], seed: int) -> ReplayRun:
    """Send a workload to one server."""
    ended = await replay_trace(requests, Target(each.url, each.model, seed=seed))
    each.bad += failures(ended.results)
    return ended


def servers_cpu_s() -> float:
    """CPU time so far of all that this process has started: the server, and the controller where there is one."""
    used_s = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            used_s += times.user + times.system
    return used_s


def in_words(each: Arm, runs: int) -> str:
    """The latest runs of a server."""
    return (
        f"{median(each.throughput_tps[-runs:]):.0f} tokens/s, TTFT {1000 * median(each.ttft_p50_s[-runs:]):.1f} ms, "
        f"{1000 * median(each.cpu_s_per_token[-runs:]):.2f} CPU ms a token"
    )


def findings(ours: Arm, theirs: Arm, rounds: int) -> command.Findings:
    """Rows from all pairs."""
    throughput = paired_ratio(ours.throughput_tps, theirs.throughput_tps)
    ttft = paired_ratio(ours.ttft_p50_s, theirs.ttft_p50_s)
    cpu = paired_ratio(ours.cpu_s_per_token, theirs.cpu_s_per_token)
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
            f"Medians of {throughput.pairs} paired runs on {rounds} fresh starts of both servers; intervals are 95 % "
            "bootstrap intervals of the median.",
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


def interval_rows(what: str, ratio: PairedRatio) -> list[Row]:
    """The interval of a ratio."""
    return [
        shown(f"{what}: lower end of the ratio's interval", ratio.low),
        shown(f"{what}: upper end of the ratio's interval", ratio.high),
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="fresh starts of both servers (default: 4)")
    parser.add_argument("--runs", type=int, default=3, help="runs on each server in each round (default: 3)")
    return command.run("overhead", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
