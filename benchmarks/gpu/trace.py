"""Joules per output token on a recorded workload: the governor against stock `vllm serve`, on one GPU.

    python -m benchmarks.gpu.trace [--trace azure_2023_conv.csv.gz] [--tpot 0.05] [--slice 90] [--pairs 7] [--quick]

Both servers stand on the card all the time, and the same stretch of the trace is replayed at recorded speed to one and
then to the other, in alternating order, so the card's idle power is in both figures and its drift in neither.
A slice counts from `--warm-up` seconds after its first arrival to its last arrival: tokens that come and joules that
NVML counts in between. Requests of every slice are different, so that no prefix cache flatters. Clocks, caps
and modes are left as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gpu.random_model import write_random_model
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.processes import ServerProcess, free_port
from benchmarks.harness.rows import Row, at_least, at_most, exactly, shown
from benchmarks.harness.statistics import paired_ratio, percentile
from benchmarks.harness.stock import SERVER, healthy
from benchmarks.harness.trace import plan_of
from reconfigure_daemon.load_generation.open_loop import ReplayRun, replay_trace
from reconfigure_daemon.load_generation.plan import PlanOptions
from reconfigure_daemon.load_generation.results import RequestResult
from reconfigure_daemon.load_generation.target import Target
from reconfigure_daemon.metering import build_meter
from reconfigure_daemon.settings.model import MeteringSettings

ENVIRON = {
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
SHARED = {
    "load_format": "dummy",
    "max_model_len": 16384,
    "gpu_memory_utilization": 0.4,
    "served_model_name": "mistral-7b-shape",
}
TARGETS = {
    ("azure_2023_conv.csv.gz", 0.2): 0.45,
    ("azure_2023_conv.csv.gz", 0.05): 0.55,
    ("azure_2023_code.csv.gz", 0.05): 0.85,
}
PACES_S = [0, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.06, 0.09, 0.13, 0.18]
FASTEST = {"pacing_interval_s": 0, "max_num_seqs": 256, "max_num_batched_tokens": 8192, "block_size": 16,
           "long_prefill_token_threshold": 0}  # fmt: skip
SAMPLE_S = 0.1


@dataclass(frozen=True)
class Slice:
    """What one arm got in one slice."""

    arm: str
    joules_per_token: float
    mean_power_w: float
    output_tokens: int
    attainment: float
    ttft_p99_s: float | None
    tpot_p99_s: float | None
    failed: int


class EnergyTrack:
    """Cumulative joules of every GPU, sampled beside the load; a value between two samples is interpolated."""

    def __init__(self) -> None:
        self._meter = build_meter(MeteringSettings(rapl="off"), busy=lambda: 0.0)
        self._times_s: list[float] = []
        self._joules: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> EnergyTrack:
        self.source = self._meter.read().source
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._meter.close()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            reading = self._meter.read()
            self._times_s.append(time.monotonic())
            self._joules.append(reading.energy_j)

    def joules_at(self, moment_s: float) -> float:
        """Joules since the track began, at a monotonic time inside it."""
        after = min(max(bisect_left(self._times_s, moment_s), 1), len(self._times_s) - 1)
        (begun_s, ended_s), (low, high) = self._times_s[after - 1 : after + 1], self._joules[after - 1 : after + 1]
        return low + (high - low) * (moment_s - begun_s) / max(ended_s - begun_s, 1e-9)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Alternate between the arms over the trace."""
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-gpu-"))
    model = write_random_model(folder / "model")
    port = free_port()
    stock_line = ["--model", str(model), "--port", str(port), *words(SHARED)]
    stock = ServerProcess([sys.executable, "-m", SERVER, *stock_line], folder / "stock.log", ENVIRON, folder)
    try:
        await healthy(stock, f"http://127.0.0.1:{port}")
        console.print("stock vLLM serves")
        async with Daemon("vllm", str(model), daemon_changes(arguments)) as daemon:
            console.print("the daemon serves")
            urls = {"stock": f"http://127.0.0.1:{port}", "governed": daemon.engine_url}
            with EnergyTrack() as energy:
                slices = await alternate(urls, energy, arguments, console)
            status = (await daemon.status()).model_dump(mode="json")
    finally:
        await asyncio.to_thread(stock.end, 15, 60.0)
    return findings_of(slices, arguments, status, energy.source.value)


def daemon_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The governor on, with the paces to choose from; one core's memory beside the stock server's."""
    return {
        "engine": {"arguments": {**SHARED, "kv_cache_memory_bytes": 36 * 2**30}},
        "space": {"pacing_interval_s": {"values": PACES_S, "default": 0}, "block_size": {"values": [16, 32]},
                  "max_num_seqs": {"values": [64, 128, 256], "default": 256},
                  "max_num_batched_tokens": {"values": [512, 1024, 2048, 4096, 8192], "default": 8192}},
        "objectives": dict.fromkeys(("energy", "throughput", "balanced"), FASTEST), "start_objective": "energy",
        "slo": {"ttft_s": arguments.ttft, "tpot_s": arguments.tpot}, "governor": {"enabled": True},
    }  # fmt: skip


def words(arguments: dict[str, Any]) -> list[str]:
    """Command-line words of vLLM's arguments."""
    return [word for name, value in arguments.items() for word in (f"--{name.replace('_', '-')}", str(value))]


async def alternate(
    urls: dict[str, str], energy: EnergyTrack, arguments: argparse.Namespace, console: Console
) -> list[tuple[Slice, Slice]]:
    """Pairs of slices, `(stock, governed)`, the first of each pair in turn."""
    pairs = []
    for number in range(-1, 1 if arguments.quick else arguments.pairs):
        options = PlanOptions(start_s=arguments.start + max(number, 0) * arguments.slice, limit_s=arguments.slice)
        if number < 0:  # warms both up, and shows the governor its load
            options = PlanOptions(start_s=arguments.start, limit_s=arguments.rehearsal)
        pair = {}
        for arm in list(urls) if number % 2 == 0 else list(urls)[::-1]:
            begun_s = time.monotonic()
            plan = plan_of(arguments.trace, options)
            target = Target(
                urls[arm], SHARED["served_model_name"], seed=1000 * (number + 1) + (arm == "stock"), vocab_size=32000
            )
            run = await replay_trace(plan.requests, target)
            await asyncio.sleep(2 * SAMPLE_S)
            pair[arm] = judge(arm, run, begun_s, energy, arguments)
            console.print(f"  {number:3d} {pair[arm]}")
        if number >= 0:
            pairs.append((pair["stock"], pair["governed"]))
    return pairs


def judge(arm: str, run: ReplayRun, begun_s: float, energy: EnergyTrack, arguments: argparse.Namespace) -> Slice:
    """Tokens and joules between the warm-up and the last arrival, and the SLO over the requests that came then."""
    from_s, to_s = min(arguments.warm_up, 0.3 * arguments.slice), max(r.request.due_s for r in run.results)
    tokens = sum(tokens_between(result, from_s, to_s) for result in run.results)
    joules = energy.joules_at(begun_s + to_s) - energy.joules_at(begun_s + from_s)
    counted = [r for r in run.results if r.request.due_s >= from_s]
    ttfts, tpots = [r.ttft_s for r in counted if r.ttft_s], [p for r in counted if (p := tpot_s(r)) is not None]
    good = sum((r.ttft_s or 1e9) <= arguments.ttft and (tpot_s(r) or 0) <= arguments.tpot for r in counted)
    return Slice(
        arm, round(joules / max(tokens, 1), 4), round(joules / (to_s - from_s), 1), tokens, good / max(len(counted), 1),
        percentile(ttfts, 0.99), percentile(tpots, 0.99), sum(r.status != "completed" for r in run.results),
    )  # fmt: skip


def tpot_s(result: RequestResult) -> float | None:
    """Mean time per output token after the first."""
    return sum(result.gaps_s) / (result.output_tokens - 1) if result.output_tokens > 1 else None


def tokens_between(result: RequestResult, from_s: float, to_s: float) -> int:
    """Output tokens that came in a stretch of the replay."""
    if result.first_output_s is None:
        return 0
    moments_s = accumulate(result.gaps_s, initial=result.first_output_s)
    return sum(from_s <= moment_s < to_s for moment_s in moments_s)


def findings_of(
    pairs: Sequence[tuple[Slice, Slice]], arguments: argparse.Namespace, status: dict[str, Any], source: str
) -> command.Findings:
    """Rows: the ratio with its interval, the SLO of both arms, and what they are made of."""
    ratio = paired_ratio([g.joules_per_token for _, g in pairs], [s.joules_per_token for s, _ in pairs])
    name = f"{arguments.trace.removesuffix('.csv.gz')}, TPOT {arguments.tpot * 1e3:.0f} ms"
    limit = TARGETS.get((arguments.trace, arguments.tpot))
    what = f"{name}: joules per output token, governed / stock, median of {ratio.pairs} pairs"
    attained = [sum(s.attainment for s in arm) / len(arm) for arm in zip(*pairs, strict=True)]
    rows: list[Row] = [
        at_most(what, ratio.median, limit) if limit else shown(what, ratio.median),
        shown(f"{name}: 95% interval, low", ratio.low),
        shown(f"{name}: 95% interval, high", ratio.high),
        at_least(f"{name}: SLO attainment, governed", attained[1], 0.99),
        shown(f"{name}: SLO attainment, stock", attained[0]),
        exactly(f"{name}: requests failed, governed", sum(g.failed for _, g in pairs), 0),
        shown(f"{name}: mean power, stock", sum(s.mean_power_w for s, _ in pairs) / len(pairs), "W"),
        shown(f"{name}: mean power, governed", sum(g.mean_power_w for _, g in pairs) / len(pairs), "W"),
    ]
    details = {"slices": [[vars(s), vars(g)] for s, g in pairs], "status": status}
    notes = [f"Energy: NVML, {source}, all GPUs of the machine; both servers' contexts are on the card in both arms."]
    return command.Findings(rows, notes, details)


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--trace", default="azure_2023_conv.csv.gz")
    parser.add_argument("--tpot", type=float, default=0.05, help="SLO, seconds (default: 0.05)")
    parser.add_argument("--ttft", type=float, default=1.0, help="SLO, seconds (default: 1)")
    parser.add_argument("--slice", type=float, default=90.0, help="seconds of arrivals per slice (default: 90)")
    parser.add_argument("--pairs", type=int, default=7, help="slices per arm (default: 7)")
    parser.add_argument("--start", type=float, default=600.0, help="seconds into the trace (default: 600)")
    parser.add_argument(
        "--warm-up", type=float, default=15.0, help="seconds of a slice that do not count (default: 15)"
    )
    parser.add_argument("--rehearsal", type=float, default=60.0, help="seconds before the first slice (default: 60)")
    return command.run("gpu.trace", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
