"""What a decode pace costs and saves on a recorded workload: joules per output token and latencies by pace.

    python -m benchmarks.gpu.pacing [--trace azure_2023_conv.csv.gz] [--paces 0 0.03 0.09] [--quick]

One engine serves the trace at recorded speed without a break, while the pace goes up step by step: each meets another
stretch of the trace, whose own rate is in its ratios too. After each change a stretch is left out in which requests of
the old pace end; then `--measure` seconds count. The governor is off: this is the curve that it has to find. First the
same prompts are answered with one token each: what they cost is the floor that no pace gets below. `--budgets` goes on
at the last pace with smaller token budgets. With `--recording FILE`, every reading of the engine and of the joules is
kept, once a second, for `benchmarks.gpu.step_cost`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.gpu.recording import Recorder
from benchmarks.gpu.server import engine_changes, model_folder, target_of, use_environment
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.energy_track import SETTLING_S, EnergyTrack, track_of_gpus
from benchmarks.harness.requests import Span, seen_in
from benchmarks.harness.rows import Row, at_most, shown
from benchmarks.harness.trace import plan_of
from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.load_generation.open_loop import replay_trace
from reconfigure_daemon.load_generation.plan import PlanOptions, ReplayPlan

BUDGET = 8192
PROMPTS_S = 20.0
PACES_S = (0.0, 0.02, 0.03, 0.045, 0.06, 0.09, 0.13, 0.18)

#: Requests of the old pace have mostly ended after this many mean lives of a request under the new one.
SETTLING_LIVES = 1.6
LEAST_SETTLING_S = 5.0

#: Pacing must not cost newcomers more than this: the median time to first token against the unpaced one.
TTFT_TARGET = 1.15


@dataclass(frozen=True, slots=True)
class Stretch:
    """One setting's steady state."""

    pacing_interval_s: float
    max_num_batched_tokens: int
    began_s: float
    ended_s: float
    seen: Span
    energy_j: float

    @property
    def energy_per_output_token_j(self) -> float:
        """Prefill and idle energy included."""
        return self.energy_j / max(self.seen.output_tokens, 1)

    @property
    def words(self) -> str:
        """The setting."""
        budget = "" if self.max_num_batched_tokens == BUDGET else f", budget {self.max_num_batched_tokens}"
        return f"pace {1000 * self.pacing_interval_s:.0f} ms{budget}"

    @property
    def power_w(self) -> float:
        """Of all GPUs, on average."""
        return self.energy_j / (self.ended_s - self.began_s)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Walk through the paces under one replay."""
    use_environment()
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-pacing-"))
    model = model_folder(arguments.engine, folder)
    async with Daemon(arguments.engine, model, engine_changes(pacing=arguments.paces)) as daemon:
        console.print("the engine serves")
        host = PrivateSocketClient(daemon.runtime / "engine-host.sock")
        with track_of_gpus() as energy:
            idle_w = await idle_power_w(energy)
            prompts_w = await prompts_power_w(daemon, energy, arguments)
            console.print(f"idle {idle_w:.0f} W, with prompts alone {prompts_w:.0f} W")
            async with Recorder(host, energy, arguments.recording):
                stretches = await walk(daemon, host, energy, arguments, console)
        await host.close()
    return findings_of(stretches, idle_w, prompts_w, arguments, energy.source)


async def idle_power_w(energy: EnergyTrack, duration_s: float = 5.0) -> float:
    """Mean power of an engine that has nothing to do."""
    began_s = time.monotonic()
    await asyncio.sleep(duration_s + SETTLING_S)
    return energy.joules_between(began_s, began_s + duration_s) / duration_s


async def prompts_power_w(daemon: Daemon, energy: EnergyTrack, arguments: argparse.Namespace) -> float:
    """Mean power where every answer has one token: idle and prefill, the part that no pace can lower."""
    length_s = 0.5 * arguments.measure if arguments.quick else PROMPTS_S
    options = PlanOptions(start_s=arguments.start, limit_s=length_s, max_output_tokens=1)
    plan = plan_of(arguments.trace, options)
    began_s = time.monotonic()
    await replay_trace(plan.requests, target_of(arguments.engine, daemon.engine_url, arguments.seed + 1))
    await asyncio.sleep(max(0.0, began_s + length_s - time.monotonic()) + SETTLING_S)
    return energy.joules_between(began_s, began_s + length_s) / length_s


async def walk(
    daemon: Daemon, host: PrivateSocketClient, energy: EnergyTrack, arguments: argparse.Namespace, console: Console
) -> list[Stretch]:
    """Each pace in turn, then each budget, in the steady state."""
    paces = arguments.paces[:2] if arguments.quick else arguments.paces
    settings = [(pace_s, BUDGET) for pace_s in paces] + [(paces[-1], budget) for budget in arguments.budgets]
    plan = plan_of(arguments.trace, PlanOptions(start_s=arguments.start, limit_s=whole_s(arguments, settings)))
    marks, stop = [], asyncio.Event()
    target = target_of(arguments.engine, daemon.engine_url, arguments.seed)
    began_s = time.monotonic()
    replay = asyncio.create_task(replay_trace(plan.requests, target, stop=stop))
    for pace_s, budget in settings:
        await host.set_knobs({"pacing_interval_s": pace_s, "max_num_batched_tokens": budget})
        await asyncio.sleep(settling_s(plan, pace_s))
        from_s = time.monotonic()
        await asyncio.sleep(arguments.measure)
        marks.append((pace_s, budget, from_s, time.monotonic()))
        power_w = energy.joules_between(*marks[-1][2:]) / arguments.measure
        console.print(f"  pace {1000 * pace_s:.0f} ms, budget {budget}: {power_w:.0f} W")
    await host.set_knobs({"pacing_interval_s": 0.0})
    stop.set()
    run = await replay
    return [
        Stretch(pace_s, budget, a, b, seen_in(run.results, a - began_s, b - began_s), energy.joules_between(a, b))
        for pace_s, budget, a, b in marks
    ]


def settling_s(plan: ReplayPlan, pace_s: float) -> float:
    """Until the batch is that of the pace."""
    lives_s = pace_s * plan.output_tokens / max(1, len(plan.requests))
    return max(LEAST_SETTLING_S, SETTLING_LIVES * lives_s)


def whole_s(arguments: argparse.Namespace, settings: list[tuple[float, int]]) -> float:
    """Seconds of the trace that are enough for the walk; what is left over is not sent."""
    return sum(arguments.measure + LEAST_SETTLING_S + 500 * pace_s for pace_s, _ in settings)


def findings_of(
    stretches: list[Stretch], idle_w: float, prompts_w: float, arguments: argparse.Namespace, source: str
) -> command.Findings:
    """The curve: each pace against none."""
    name, unpaced = arguments.trace.removesuffix(".csv.gz"), stretches[0]
    rows: list[Row] = [
        shown("power of an idle engine", idle_w, "W"),
        shown(f"{name}: power with prompts alone", prompts_w, "W"),
        shown(f"{name}: the same against no pace, which no pace gets below", prompts_w / unpaced.power_w),
    ]
    for stretch in stretches:
        words = f"{name}, {stretch.words}"
        rows += [
            shown(f"{words}: joules per output token", stretch.energy_per_output_token_j, "J"),
            shown(f"{words}: power", stretch.power_w, "W"),
            shown(f"{words}: TPOT p99", stretch.seen.tpot_p99_s, "s"),
            shown(f"{words}: TTFT p99", stretch.seen.ttft_p99_s, "s"),
        ]
        if stretch is not unpaced:
            ratio = (stretch.seen.ttft_p50_s or 0) / (unpaced.seen.ttft_p50_s or 1)
            rows.append(at_most(f"{words}: TTFT p50 against no pace", ratio, TTFT_TARGET))
    best = min(stretches, key=lambda s: s.energy_per_output_token_j)
    rows.append(shown(f"{name}: least joules per output token against no pace",
                      best.energy_per_output_token_j / unpaced.energy_per_output_token_j))  # fmt: skip
    notes = [f"Energy: NVML, {source}, all GPUs of the machine, idle ones included."]
    details = {"stretches": [asdict(s) for s in stretches], "idle_power_w": idle_w, "prompts_power_w": prompts_w}
    return command.Findings(rows, notes, details)


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--trace", default="azure_2023_conv.csv.gz")
    parser.add_argument("--paces", type=float, nargs="+", default=list(PACES_S), help="seconds, the first is 0")
    parser.add_argument("--budgets", type=int, nargs="*", default=[], help="token budgets at the last pace")
    parser.add_argument("--measure", type=float, default=20.0, help="seconds of each pace that count (default: 20)")
    parser.add_argument("--start", type=float, default=600.0, help="seconds into the trace (default: 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts (default: 1)")
    parser.add_argument("--recording", type=Path, help="keep every reading of the engine in this .jsonl.gz")
    return command.run("gpu.pacing", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
