"""A load that swings tenfold within minutes on several GPUs: the daemon chooses how many of them serve, and paces them.

    python -m benchmarks.gpu.parallel_swing [--gpus 4] [--low 2.5] [--times 10] [--length 480] [--tpot 0.05]
        [--rounds 3] [--replicas] [--add-to FILE ...] [--quick]

Stock `vllm serve` spreads the model over all GPUs and keeps it there. The daemon begins like that, learns in a few
trials what one GPU and all of them can do at the low and at the high rate, and is then left alone under the energy
objective: its slow loop moves between one GPU and all, its governor paces. With `--replicas` it has a replica of the
model on each GPU where it would otherwise spread one over all of them; stock is the same.

Arrivals are random at a rate that is low for a quarter of the time, climbs for a quarter, stays high for an eighth,
falls for a quarter and is low again; their lengths are those of Azure's conversations. The arms come one after the
other, in an order that alternates, so that a GPU which an arm does not use holds nothing; the joules of all GPUs count
in both, idle ones included. Trials and boots come before and do not count, switches do. Each round has other arrivals
and begins with nothing learned. A round takes 20 minutes and more: `--add-to` takes the files of earlier ones and
counts their rounds, too; with `--rounds 0` it only adds up, for which no GPU is needed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console

from benchmarks.gpu.server import (
    FASTEST,
    SHARED,
    engine_changes,
    model_folder,
    stock_arm,
    target_of,
    use_environment,
)
from benchmarks.harness import command, earlier_parts
from benchmarks.harness.closed_loop import tune
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.energy_track import SETTLING_S, EnergyTrack, track_of_gpus
from benchmarks.harness.machine import gpus_to_use
from benchmarks.harness.requests import Span, seen_in
from benchmarks.harness.rows import Row, at_least, at_most, exactly, interval_rows, shown
from benchmarks.harness.statistics import paired_ratio
from benchmarks.harness.swing import swinging_rps
from benchmarks.harness.trace import random_arrivals
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_daemon.load_generation.open_loop import replay_trace
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.target import Target
from reconfigure_daemon.tuning import TuneRequest
from reconfigure_policies.domain.parallelism import DATA_PARALLEL, TENSOR_PARALLEL, gpus_of

NAME = "gpu.parallel_swing"
ATTAINMENT = 0.99

#: By how many GPUs the stock arm spreads over; with fewer, less can be left idle.
TARGETS = {4: 0.35}
TTFT_LIMIT_S = 1.0

#: Room for a core on one GPU beside one on all of them, and on one GPU for what may run at once.
KV_CACHE_BYTES = 44 * 2**30

#: Arguments that make results of different things.
ALIKE = ("gpus", "replicas", "trace", "low", "times", "length", "tpot", "trials")

#: A glance at the whole swing.
QUICK_LENGTH_S = 60.0

PACES_S = (0.0, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045)

#: A loop as quick as the swing: what an operator with such a load would set.
QUICK_LOOP: dict[str, Any] = {
    "monitoring": {"window_s": 10, "settle_s": 3, "observation_min_requests": 5},
    "learning": {"min_trials": 6, "refit_interval_s": 60},
    "decision": {"min_dwell_s": 60, "max_switches_per_hour": 12, "expected_stay_s": 180, "assumed_switch_s": 30,
                 "canary_s": 60, "distrust_s": 60},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm got of the whole swing.

    Attributes:
        joules_per_token: of all GPUs, from the first arrival to the last.
        mean_power_w: likewise.
        quarters: joules per token of each quarter.
        seen: by the clients.
        gpus: that served, by seconds since the start, wherever that changed; empty for stock.
    """

    joules_per_token: float
    mean_power_w: float
    quarters: list[float]
    seen: Span
    gpus: list[tuple[float, int]]

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> Arm:
        """An arm that an earlier part kept."""
        return cls(**{**kept, "seen": Span(**kept["seen"]), "gpus": [(at_s, gpus) for at_s, gpus in kept["gpus"]]})


@dataclass(frozen=True, slots=True)
class Round:
    """Both arms under the same arrivals.

    Attributes:
        stock, daemon: what each got.
        decisions: of the daemon, from its start on, with their reasons.
        measured_at: when it ended, ISO 8601.
    """

    stock: Arm
    daemon: Arm
    decisions: list[str]
    measured_at: str

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> Round:
        """A round that an earlier part kept."""
        return cls(**{**kept, "stock": Arm.of_json(kept["stock"]), "daemon": Arm.of_json(kept["daemon"])})


@dataclass(slots=True)
class Bench:
    """What the rounds share.

    Attributes:
        gpus: that both arms have.
        rounds: so far.
    """

    arguments: argparse.Namespace
    console: Console
    folder: Path
    model: str
    gpus: int
    energy: EnergyTrack
    rounds: list[Round]

    async def round(self, number: int) -> Round:
        """Both arms, the daemon first in rounds of even number."""
        requests = list(arrivals(self.arguments, self.arguments.seed + number))
        self.console.print(f"round {number}: {len(requests)} requests in {self.arguments.length:g} s")
        if number % 2:
            stock = await self.stock(number, requests)
            daemon, decisions = await self.daemon(number, requests)
        else:
            daemon, decisions = await self.daemon(number, requests)
            stock = await self.stock(number, requests)
        return Round(stock, daemon, decisions, datetime.now(UTC).isoformat())

    async def stock(self, number: int, requests: Sequence[PlannedRequest]) -> Arm:
        """Plain `vllm serve` on all GPUs, from its boot to its end."""
        engine = self.arguments.engine
        async with stock_arm(engine, self.model, self.folder, {TENSOR_PARALLEL: self.gpus, **cache()}) as url:
            self.console.print(f"  stock vLLM serves on {self.gpus} GPUs")
            await replay_trace(requests[: self.arguments.rehearsal], target_of(engine, url, 3 * number))
            arm = await swing(self.arguments, target_of(engine, url, 3 * number + 1), requests, self.energy)
        self.console.print(f"  stock {arm}")
        self.keep({"stock": asdict(arm)})
        return arm

    async def daemon(self, number: int, requests: Sequence[PlannedRequest]) -> tuple[Arm, list[str]]:
        """The daemon, from its boot to its end, and what it decided."""
        arguments = self.arguments
        async with Daemon(arguments.engine, self.model, daemon_changes(arguments, self.gpus)) as daemon:
            self.console.print("  the daemon serves")
            await learn(daemon, requests, arguments, self.console)
            target = target_of(arguments.engine, daemon.engine_url, 3 * number + 2)
            arm = await swing(arguments, target, requests, self.energy, daemon)
            decisions = [f"{d.kind} by {d.source}: {d.reason}" for d in reversed(await daemon.decisions())]
        self.console.print(f"  daemon {arm}")
        self.keep({"daemon": asdict(arm), "decisions": decisions})
        return arm, decisions

    def keep(self, half: dict[str, Any] | None = None) -> None:
        """Write the result so far, if that is asked for, with the arm that waits for its other."""
        findings = findings_of(self.rounds, self.arguments, self.gpus, self.energy.source)
        findings.details |= {"half": half} if half else {}
        command.keep(name_of(self.arguments), self.arguments, findings)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """All rounds, those of earlier parts before them."""
    parts = [part_in(path) for path in arguments.add_to]
    earlier_parts.require_alike(parts, arguments, ALIKE)
    rounds = [round_ for part in parts for round_ in rounds_in(part["details"])]
    if arguments.rounds == 0:
        findings = findings_of(rounds, arguments, arguments.gpus, earlier_parts.one_source(parts))
        findings.measured = [*parts]
        return findings
    gpus = gpus_to_use(arguments.gpus) if arguments.engine == "vllm" else arguments.gpus
    use_environment()
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-gpu-"))
    model = model_folder(arguments.engine, folder)
    if arguments.quick:
        arguments.length, arguments.trials = min(arguments.length, QUICK_LENGTH_S), 2
    with track_of_gpus() as energy:
        bench = Bench(arguments, console, folder, model, gpus, energy, rounds)
        for number in range(len(rounds), len(rounds) + (1 if arguments.quick else arguments.rounds)):
            rounds.append(await bench.round(number))
            bench.keep()
    return findings_of(rounds, arguments, gpus, energy.source)


def part_in(path: Path) -> dict[str, Any]:
    """What an earlier run wrote.

    Raises:
        RequestInvalid: if there is no such file, or it is no result of this benchmark.
    """
    return earlier_parts.part_in(path, NAME, rounds_in)


def rounds_in(details: dict[str, Any]) -> list[Round]:
    """The whole rounds of a result."""
    return [Round.of_json(kept) for kept in details["rounds"]]


def cache() -> dict[str, Any]:
    """Of both arms' cores, on each GPU."""
    return {"kv_cache_memory_bytes": KV_CACHE_BYTES}


def daemon_changes(arguments: argparse.Namespace, gpus: int) -> dict[str, Any]:
    """All GPUs at first, and everything that the daemon may choose."""
    sections = {
        **QUICK_LOOP,
        "slo": {"ttft_s": TTFT_LIMIT_S, "tpot_s": arguments.tpot},
        "governor": {"enabled": True},
    }
    spread = {DATA_PARALLEL if arguments.replicas else TENSOR_PARALLEL: gpus}
    changes = engine_changes(PACES_S, (FASTEST["max_num_seqs"],), sections=sections, further=spread,
                             of_objective="energy")  # fmt: skip
    changes["engine"]["arguments"] = {**SHARED, **cache()}
    changes["space"] |= {"block_size": {"values": [16], "default": 16},
                         "max_num_batched_tokens": {"values": [2048, 8192], "default": 8192},
                         "prefix_cache_reading": {"values": [True], "default": True},
                         "long_prefill_token_threshold": {"values": [0], "default": 0}}  # fmt: skip
    return changes


async def learn(
    daemon: Daemon, requests: Sequence[PlannedRequest], arguments: argparse.Namespace, console: Console
) -> None:
    """A short session at each end of the swing, from and back to all GPUs."""
    lengths = (round(mean(r.prompt_tokens for r in requests)), round(mean(r.output_tokens for r in requests)))
    for seed, rate_rps in enumerate((arguments.low, arguments.low * arguments.times)):
        await tune(daemon, TuneRequest(trials=arguments.trials, lengths=[lengths], arrival_rate_rps=rate_rps,
                                       settle_s=3.0, window_s=5.0, saturated_s=3.0, seed=seed), console)  # fmt: skip


async def swing(
    arguments: argparse.Namespace,
    target: Target,
    requests: Sequence[PlannedRequest],
    energy: EnergyTrack,
    daemon: Daemon | None = None,
) -> Arm:
    """All arrivals to one arm; who watches sees how many GPUs serve."""
    length_s, began_s = arguments.length, time.monotonic()
    gpus: list[tuple[float, int]] = []
    watching = asyncio.create_task(watch(daemon, began_s, gpus)) if daemon else None
    run = await replay_trace(requests, target)
    await asyncio.sleep(SETTLING_S)
    if watching is not None:
        watching.cancel()
    per_token = [
        energy.joules_between(began_s + a, began_s + b) / max(seen_in(run.results, a, b).output_tokens, 1)
        for a, b in [(0, length_s), *((n * length_s / 4, (n + 1) * length_s / 4) for n in range(4))]
    ]
    seen = seen_in(run.results, 0, length_s, TTFT_LIMIT_S, arguments.tpot)
    power_w = energy.joules_between(began_s, began_s + length_s) / length_s
    return Arm(per_token[0], power_w, per_token[1:], seen, gpus)


async def watch(daemon: Daemon, began_s: float, gpus: list[tuple[float, int]]) -> None:
    """Note every change of the number of GPUs that serve."""
    while True:
        with suppress(ReconfigureError, OSError):  # it may not answer in the middle of a change
            serving = gpus_of((await daemon.host()).enforced)
            if not gpus or gpus[-1][1] != serving:
                gpus.append((round(time.monotonic() - began_s, 1), serving))
        await asyncio.sleep(1.0)


def arrivals(arguments: argparse.Namespace, seed: int) -> Iterator[PlannedRequest]:
    """At a rate that swings."""
    most_rps, length_s = arguments.low * arguments.times, arguments.length
    return random_arrivals(arguments.trace, most_rps, length_s, seed, lambda at_s: rate_rps(arguments, at_s / length_s))


def rate_rps(arguments: argparse.Namespace, share: float) -> float:
    """The rate at a share of the whole, 0 to 1."""
    return swinging_rps(arguments.low, arguments.times, share)


def findings_of(rounds: Sequence[Round], arguments: argparse.Namespace, gpus: int, source: str) -> command.Findings:
    """The ratio over all rounds, the service level of both arms, and what was switched; no rows without a round."""
    notes = [
        f"Energy: NVML, {source}, all {gpus} GPUs in both arms.",
        f"Arrivals: {arguments.low:g} to {arguments.low * arguments.times:g} requests/s within {arguments.length:g} s.",
    ]
    details = {"energy_source": source, "rounds": [asdict(round_) for round_ in rounds]}
    return command.Findings(rows_of(rounds, gpus) if rounds else [], notes, details)


def rows_of(rounds: Sequence[Round], gpus: int) -> list[Row]:
    """At least one round."""
    ratio = paired_ratio([r.daemon.joules_per_token for r in rounds], [r.stock.joules_per_token for r in rounds])
    what = f"joules per output token, daemon / stock at TP={gpus}, median of {ratio.pairs} pairs"
    quarters = [[a / b for a, b in zip(r.daemon.quarters, r.stock.quarters, strict=True)] for r in rounds]
    counted = sum(r.daemon.seen.requests for r in rounds)
    changes = [max(len(r.daemon.gpus) - 1, 0) for r in rounds]
    return [
        at_most(what, ratio.median, TARGETS[gpus]) if gpus in TARGETS else shown(what, ratio.median),
        *(interval_rows(ratio) if ratio.pairs > 1 else []),
        *(shown(f"the same, quarter {n + 1} of the swing", median(of_rounds))
          for n, of_rounds in enumerate(zip(*quarters, strict=True))),
        shown("mean power, stock", mean(r.stock.mean_power_w for r in rounds), "W"),
        shown("mean power, daemon", mean(r.daemon.mean_power_w for r in rounds), "W"),
        at_least(f"SLO attainment of {counted} requests, daemon",
                 sum(r.daemon.seen.good for r in rounds) / max(counted, 1), ATTAINMENT),
        shown("SLO attainment, stock", mean(r.stock.seen.attainment for r in rounds)),
        exactly("requests failed, daemon", sum(r.daemon.seen.failed for r in rounds), 0),
        shown("changes of the number of GPUs in a swing, mean", mean(changes)),
    ]  # fmt: skip


def name_of(arguments: argparse.Namespace) -> str:
    """The result's name: `gpu.parallel_swing` of the number of GPUs that has a target, others behind it."""
    if arguments.replicas:
        return f"{NAME}_dp{arguments.gpus}"
    return NAME if arguments.gpus in TARGETS else f"{NAME}_tp{arguments.gpus}"


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--gpus", type=int, default=4, help="that both arms have, 2 or more (default: 4)")
    parser.add_argument("--replicas", action="store_true", help="the daemon has a replica of the model on each GPU")
    parser.add_argument("--trace", default="azure_2023_conv.csv.gz", help="whose lengths")
    parser.add_argument("--low", type=float, default=2.5, help="requests/s at the low end (default: 2.5)")
    parser.add_argument("--times", type=float, default=10.0, help="how much higher the high end is (default: 10)")
    parser.add_argument("--length", type=float, default=480.0, help="seconds of the whole swing (default: 480)")
    parser.add_argument("--tpot", type=float, default=0.05, help="SLO, seconds (default: 0.05)")
    parser.add_argument("--trials", type=int, default=6, help="at each end, before the swing (default: 6)")
    parser.add_argument("--rehearsal", type=int, default=30, help="requests before stock counts (default: 30)")
    parser.add_argument("--rounds", type=int, default=3, help="swings per arm (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the first round's arrivals (default: 0)")
    command.keep_option(parser, "arm")
    earlier_parts.add_option(parser, "rounds")
    return command.run(name_of, parser, measure)


if __name__ == "__main__":
    sys.exit(main())
