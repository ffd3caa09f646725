"""Joules per output token on a recorded workload: the governor against stock `vllm serve`, on one GPU.

    python -m benchmarks.gpu.trace [--trace azure_2023_conv.csv.gz] [--tpot 0.2 0.05] [--rounds 5] [--add-to FILE ...]
        [--with quantization=fp8 kv_cache_dtype=fp8]
    python -m benchmarks.gpu.trace --trace azure_2023_code.csv.gz --tpot 0.05 --start 1020     # silent before, mostly

Both servers stand on the card all the time. In each round the same stretch of the trace is replayed at recorded speed
to stock vLLM and, once for each TPOT limit, to the daemon, in an order that rotates; so the card's idle power is in all
figures and its drift in none. A slice counts from `--warm-up` seconds after its first arrival until its last: tokens
that come and joules that NVML counts in between. The warm-up is as long as requests live at the slowest pace: before
that, fewer tokens come than the prompts will give. Prompts are different in every slice, so that no prefix cache
flatters. A long measurement may be made in parts, one after the other or on several GPUs: `--add-to` takes the files of
other parts and counts their slices, too; with `--rounds 0` it only adds up, for which no GPU is needed.
Clocks, caps and modes are left as they are. What the energy objective may change of the model itself is named by
`--with`: such a result has a name of its own, since it says what an operator gains who allows it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.gpu.recording import Recorder
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
from benchmarks.harness import command, earlier_parts
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.energy_track import SETTLING_S, EnergyTrack, track_of_gpus
from benchmarks.harness.requests import Span, seen_in
from benchmarks.harness.rows import Row, at_least, at_most, below, exactly, interval_rows, shown
from benchmarks.harness.statistics import paired_ratio
from benchmarks.harness.trace import plan_of
from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.load_generation.open_loop import ReplayRun, replay_trace
from reconfigure_daemon.load_generation.plan import PlanOptions

NAME = "gpu.trace"
STOCK = "stock"
CONVERSATIONS = "azure_2023_conv"
TARGETS = {
    (CONVERSATIONS, 0.2): 0.45,
    (CONVERSATIONS, 0.05): 0.55,
    ("azure_2023_code", 0.05): 0.85,
}
PACES_S = (0, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.0425, 0.045, 0.0475, 0.06, 0.08, 0.1, 0.13, 0.16, 0.19)
CORE_LIMIT = 0.02

#: Arguments that make results of different things.
ALIKE = ("trace", "ttft", "warm_up", "slice", "block_size", "with")

#: Pacing must not cost newcomers more than this: the median time to first token against stock's.
TTFT_TARGET = 1.15
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Slice:
    """What one arm got of one stretch of the trace.

    Attributes:
        round: of the measurement.
        tpot_limit_s: that the daemon was to hold; None for stock.
        joules_per_token: prefill and idle energy included.
        minutes: the same of each minute, see `minutes_between`; None where no token came.
        seen: by the clients; latencies of requests that had not ended count as far as they had come. Stock is judged by
            the longest limit of the measurement.
        measured_at: UTC.
        controller_cores: processor time of the controller, as a share of one core; 0 for stock.
        pacing_interval_s: that was in force at the slice's end.
    """

    round: int
    tpot_limit_s: float | None
    joules_per_token: float
    mean_power_w: float
    minutes: list[float | None]
    seen: Span
    measured_at: str
    controller_cores: float = 0.0
    pacing_interval_s: float = 0.0

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> Slice:
        """A slice that an earlier part kept."""
        return cls(**{**kept, "seen": Span(**kept["seen"])})


@dataclass(slots=True)
class Bench:
    """Everything that the slices share."""

    arguments: argparse.Namespace
    console: Console
    daemon: Daemon
    stock_url: str
    energy: EnergyTrack
    slices: list[Slice]

    async def run(self) -> None:
        """Let the governor see its load, then all rounds; what is measured is kept after each slice."""
        arms: list[float | None] = [None, *self.arguments.tpot]
        for arm in [*self.arguments.tpot[:1], None]:
            await self.slice(-1, arm, self.arguments.rehearsal)
        first = 1 + max((s.round for s in self.slices), default=-1)
        for number in range(first, first + (1 if self.arguments.quick else self.arguments.rounds)):
            turn = number % len(arms)
            for arm in arms[turn:] + arms[:turn]:
                self.slices.append(await self.slice(number, arm, self.arguments.slice))
                self.keep()

    async def slice(self, number: int, tpot_limit_s: float | None, length_s: float) -> Slice:
        """One arm on one stretch of the trace."""
        await self.prepare(tpot_limit_s)
        start_s = self.arguments.start + max(number, 0) * self.arguments.slice
        plan = plan_of(self.arguments.trace, PlanOptions(start_s=start_s, limit_s=length_s))
        url = self.stock_url if tpot_limit_s is None else self.daemon.engine_url
        seed = 1000 * (number + 2) + round(1000 * (tpot_limit_s or 0))
        target = target_of(self.arguments.engine, url, seed)
        began_s, used_s = time.monotonic(), self.daemon.controller_worked_s()
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(length_s, stop.set)
        run = await replay_trace(plan.requests, target, stop=stop)
        host = await self.daemon.host()
        await asyncio.sleep(max(0.0, began_s + length_s - time.monotonic()) + SETTLING_S)  # also if all have ended
        cores = (self.daemon.controller_worked_s() - used_s) / (time.monotonic() - began_s)
        judged = self.judge(number, tpot_limit_s, run, began_s, length_s)
        if tpot_limit_s is not None:
            pace_s = float(host.enforced["pacing_interval_s"])
            judged = replace(judged, controller_cores=cores, pacing_interval_s=pace_s)
        self.tell(judged)
        return judged

    async def prepare(self, tpot_limit_s: float | None) -> None:
        """Give the daemon its limit; while stock serves it is paused, since the card's joules are not its own then."""
        if tpot_limit_s is None:
            await self.daemon.intend({"kind": "pause"})
            return
        await self.daemon.reload({"slo": {"ttft_s": self.arguments.ttft, "tpot_s": tpot_limit_s}})
        await self.daemon.intend({"kind": "resume"})

    def tell(self, judged: Slice) -> None:
        """One line for who watches."""
        seen = judged.seen
        self.console.print(
            f"  {judged.round:3d} {words_of(judged.tpot_limit_s):17s} {judged.joules_per_token:.4f} J/token, "
            f"{judged.mean_power_w:.0f} W, pace {1000 * judged.pacing_interval_s:.0f} ms, "
            f"attained {seen.attainment:.4f} of {seen.requests} (TTFT late {seen.late_ttft}, TPOT {seen.late_tpot}), "
            f"TPOT p99 {1000 * (seen.tpot_p99_s or 0):.1f} ms, "
            f"TTFT p50 {1000 * (seen.ttft_p50_s or 0):.0f} ms"
        )

    def judge(self, number: int, tpot_limit_s: float | None, run: ReplayRun, began_s: float, length_s: float) -> Slice:
        """Tokens, joules and latencies after the warm-up."""
        limit_s = tpot_limit_s or max(self.arguments.tpot)
        from_s = min(self.arguments.warm_up, 0.4 * length_s)
        seen = seen_in(run.results, from_s, length_s, self.arguments.ttft, limit_s)
        joules = self.energy.joules_between(began_s + from_s, began_s + length_s)
        minutes: list[float | None] = []
        for a in minutes_between(from_s, length_s):
            b = a + MINUTE_S
            tokens = seen_in(run.results, a, b).output_tokens
            minutes.append(self.energy.joules_between(began_s + a, began_s + b) / tokens if tokens else None)
        per_token, power_w = joules / max(seen.output_tokens, 1), joules / (length_s - from_s)
        return Slice(number, tpot_limit_s, per_token, power_w, minutes, seen, datetime.now(UTC).isoformat())

    def keep(self) -> None:
        """Write the result so far, if that is asked for."""
        findings = findings_of(self.slices, self.arguments, self.energy.source)
        command.keep(name_of(self.arguments), self.arguments, findings)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Start both servers and alternate between the arms over the trace."""
    parts = [part_in(path) for path in arguments.add_to]
    earlier = slices_of(parts)
    if arguments.rounds == 0:
        return added_up(parts, earlier, arguments)
    use_environment()
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-gpu-"))
    model = model_folder(arguments.engine, folder)
    sections = {"slo": {"ttft_s": arguments.ttft, "tpot_s": arguments.tpot[0]}, "governor": {"enabled": True}}
    further = further_of(arguments)
    changes = engine_changes(
        PACES_S, block_size=arguments.block_size, sections=sections, further=further, of_objective="energy"
    )
    async with (
        stock_arm(arguments.engine, model, folder) as stock_url,
        Daemon(arguments.engine, model, changes) as daemon,
    ):
        console.print("stock vLLM and the daemon serve")
        host = PrivateSocketClient(daemon.runtime / "engine-host.sock")
        with track_of_gpus() as energy:
            async with Recorder(host, energy, arguments.recording):
                bench = Bench(arguments, console, daemon, stock_url, energy, earlier)
                await bench.run()
        await host.close()
        log = (daemon.folder / "controller.log").read_text(errors="replace").splitlines()
    findings = findings_of(bench.slices, arguments, energy.source)
    findings.details["controller_log"] = log
    return findings


def added_up(
    parts: Sequence[dict[str, Any]], slices: Sequence[Slice], arguments: argparse.Namespace
) -> command.Findings:
    """Only what other parts measured.

    Raises:
        RequestInvalid: if there are none, if their joules are not all of one kind, or if they measured something else.
    """
    source = earlier_parts.one_source(parts)
    earlier_parts.require_alike(parts, arguments, ALIKE)
    findings = findings_of(slices, arguments, source)
    findings.details["parts"] = [part["arguments"] for part in parts]
    findings.measured = [*parts]
    return findings


def minutes_between(from_s: float, to_s: float) -> list[float]:
    """Where the minutes of a slice begin: one after the other, and where that leaves a rest, one that ends with it."""
    whole = [from_s + number * MINUTE_S for number in range(int((to_s - from_s) // MINUTE_S))]
    return [*whole, to_s - MINUTE_S] if whole and whole[-1] + MINUTE_S < to_s else whole


def part_in(path: Path) -> dict[str, Any]:
    """What an earlier run wrote.

    Raises:
        RequestInvalid: if there is no such file, or it is no result of this benchmark.
    """
    return earlier_parts.part_in(path, NAME, lambda details: [Slice.of_json(one) for one in details["slices"]])


def slices_of(parts: Sequence[dict[str, Any]]) -> list[Slice]:
    """The slices of all parts, each part's rounds after those of the part before."""
    slices: list[Slice] = []
    for part in parts:
        kept = [Slice.of_json(one) for one in part["details"]["slices"]]
        first = 1 + max((s.round for s in slices), default=-1)
        slices += [replace(s, round=first + s.round) for s in kept]
    return slices


def workload_of(arguments: argparse.Namespace) -> str:
    """The trace's name."""
    return str(arguments.trace).removesuffix(".csv.gz")


def name_of(arguments: argparse.Namespace) -> str:
    """The result's name: `gpu.trace` of the conversations, with the other workload and what `--with` allows behind."""
    workload = workload_of(arguments)
    other = [] if workload == CONVERSATIONS else [workload.rpartition("_")[2]]
    return with_further("_".join([NAME, *other]), arguments)


def words_of(tpot_limit_s: float | None) -> str:
    """An arm's name."""
    return STOCK if tpot_limit_s is None else f"governed, {1000 * tpot_limit_s:.0f} ms"


def findings_of(slices: Sequence[Slice], arguments: argparse.Namespace, source: str) -> command.Findings:
    """Rows of each limit: the ratio with its interval, the SLO of both arms, the worst minute."""
    name = workload_of(arguments)
    rows: list[Row] = []
    for limit_s in arguments.tpot:
        rows += rows_of(name, limit_s, slices)
    governed = [s for s in slices if s.tpot_limit_s is not None]
    cores = mean([s.controller_cores for s in governed])
    rows.append(below(f"{name}: the controller's processor time", cores, CORE_LIMIT, "cores"))
    beyond = further_in_words(arguments)
    notes = [
        *([f"The energy objective serves the model with {beyond}, stock vLLM without."] if beyond else []),
        f"Energy: NVML, {source}, every GPU that the servers may use; both contexts are on the card in all arms.",
        f"Daemon and stock vLLM serve the same requests; the daemon's block size is {arguments.block_size}.",
        "Requests that had not ended with their slice count by the tokens that had come.",
    ]
    return command.Findings(rows, notes, details_of(slices, source))


def rows_of(name: str, limit_s: float, slices: Sequence[Slice]) -> list[Row]:
    """One limit against stock, over the rounds that have both; nothing before the first of them is whole.

    A stretch of the trace in which nobody asked for anything has no joules per token, and counts for neither. One that
    only the daemon did not answer counts, with all its joules for a token.
    """
    stock = {s.round: s for s in slices if s.tpot_limit_s is None and s.seen.output_tokens}
    pairs = [(stock[s.round], s) for s in slices if s.tpot_limit_s == limit_s and s.round in stock]
    if not pairs:
        return []
    ratio = paired_ratio([ours.joules_per_token for _, ours in pairs], [s.joules_per_token for s, _ in pairs])
    by_slice = [[m / n for m, n in zip(ours.minutes, s.minutes, strict=False) if m and n] for s, ours in pairs]
    minutes = [*chain.from_iterable(by_slice)]
    last = [of_slice[-1] for of_slice in by_slice if len(of_slice) > 1]
    counted = sum(ours.seen.requests for _, ours in pairs)
    first_tokens = [a / b for s, ours in pairs if (a := ours.seen.ttft_p50_s) and (b := s.seen.ttft_p50_s)]
    what, target = f"{name}, TPOT {1000 * limit_s:.0f} ms", TARGETS.get((name, limit_s))
    ratio_words = f"{what}: joules per output token, governed / stock, median of {ratio.pairs} pairs"
    worst = f"{what}: the same in the worst minute"
    return [
        shown(ratio_words, ratio.median) if target is None else at_most(ratio_words, ratio.median, target),
        *interval_rows(ratio, what),
        at_most(worst, max(minutes, default=None), 1.0),
        *([shown(f"{what}: the same in the last minute of each slice, median", median(last))] if last else []),
        at_least(f"{what}: SLO attainment of {counted} requests, governed",
                 sum(ours.seen.good for _, ours in pairs) / max(counted, 1), 0.99),
        shown(f"{what}: SLO attainment, stock, by the longest limit measured beside it",
              mean([s.seen.attainment for s, _ in pairs])),
        exactly(f"{what}: requests failed, governed", sum(ours.seen.failed for _, ours in pairs), 0),
        shown(f"{what}: mean power, stock", mean([s.mean_power_w for s, _ in pairs]), "W"),
        shown(f"{what}: mean power, governed", mean([ours.mean_power_w for _, ours in pairs]), "W"),
        at_most(f"{what}: TTFT p50, governed / stock", mean(first_tokens), TTFT_TARGET),
    ]  # fmt: skip


def mean(values: Sequence[float]) -> float:
    """0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def details_of(slices: Sequence[Slice], source: str) -> dict[str, Any]:
    """What `--add-to` reads."""
    return {"energy_source": source, "slices": [asdict(s) for s in slices]}


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--trace", default=f"{CONVERSATIONS}.csv.gz")
    parser.add_argument("--tpot", type=float, nargs="+", default=[0.2, 0.05], help="SLOs, seconds (default: 0.2 0.05)")
    parser.add_argument("--ttft", type=float, default=1.0, help="SLO, seconds (default: 1)")
    parser.add_argument("--slice", type=float, default=150.0, help="seconds of arrivals per slice (default: 150)")
    parser.add_argument("--rounds", type=int, default=6, help="slices per arm (default: 6)")
    parser.add_argument("--start", type=float, default=600.0, help="seconds into the trace (default: 600)")
    parser.add_argument("--warm-up", type=float, default=60.0, help="of a slice, that do not count (default: 60)")
    parser.add_argument("--rehearsal", type=float, default=60.0, help="seconds before the first slice (default: 60)")
    parser.add_argument("--block-size", type=int, default=16, help="of the daemon's KV cache (default: 16)")
    add_further_option(parser, "the energy objective")
    parser.add_argument("--recording", type=Path, help="keep every reading of the daemon's engine in this .jsonl.gz")
    command.keep_option(parser, "slice")
    earlier_parts.add_option(parser, "slices")
    return command.run(name_of, parser, measure)


if __name__ == "__main__":
    sys.exit(main())
