"""A tenfold burst within one second while the governor paces: how long newcomers wait, against stock `vllm serve`.

    python -m benchmarks.gpu.burst [--base 2] [--times 10] [--burst 10] [--repeats 4] [--quick]

Requests of 512 + 128 tokens arrive at random at a base rate, ten times as fast from one second to the next, and at the
base rate again. Both servers get the same arrivals, in alternating order, after a rehearsal in which the governor comes
to its pace; a burst counts only if it met a paced engine. TTFT is that of the requests that are due during the burst.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.gpu.server import engine_changes, model_folder, stock_arm, target_of, use_environment
from benchmarks.gpu.trace import PACES_S
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.requests import Span, seen_in
from benchmarks.harness.rows import Row, at_least, at_most, exactly, interval_rows
from benchmarks.harness.statistics import paired_ratio
from reconfigure_daemon.load_generation.open_loop import replay_trace
from reconfigure_daemon.load_generation.plan import PlannedRequest

PROMPT_TOKENS, OUTPUT_TOKENS = 512, 128
TTFT_LIMIT_S, TPOT_LIMIT_S = 1.0, 0.05
CALM_AFTER_S = 5.0
TARGET = 1.2


@dataclass(frozen=True, slots=True)
class Burst:
    """What one arm got of one burst.

    Attributes:
        arm: `stock` or `governed`.
        pace_before_s: the pacing interval that the burst met.
        during: of the requests that were due in the burst.
    """

    arm: str
    pace_before_s: float
    during: Span


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Start both servers and send both the same bursts in turn."""
    use_environment()
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-gpu-"))
    model = model_folder(arguments.engine, folder)
    sections = {"slo": {"ttft_s": TTFT_LIMIT_S, "tpot_s": TPOT_LIMIT_S}, "governor": {"enabled": True}}
    changes = engine_changes(PACES_S, sections=sections)
    pairs: list[tuple[Burst, Burst]] = []
    async with stock_arm(arguments.engine, model, folder) as stock, Daemon(arguments.engine, model, changes) as daemon:
        console.print("stock vLLM and the daemon serve")
        for number in range(1 if arguments.quick else arguments.repeats):
            pair = {}
            for arm in ("stock", "governed")[:: 1 if number % 2 else -1]:
                await daemon.intend({"kind": "pause" if arm == "stock" else "resume"})
                pair[arm] = await burst(arm, stock, daemon, number, arguments)
                console.print(f"  {number} {pair[arm]}")
            pairs.append((pair["stock"], pair["governed"]))
    details = {"bursts": [asdict(one) for pair in pairs for one in pair]}
    return command.Findings(rows_of(pairs, arguments.times), [], details)


async def burst(arm: str, stock_url: str, daemon: Daemon, number: int, arguments: argparse.Namespace) -> Burst:
    """One arm under one burst."""
    url = stock_url if arm == "stock" else daemon.engine_url
    requests = list(arrivals(arguments, seed=number))
    replay = asyncio.create_task(replay_trace(requests, target_of(arguments.engine, url, 10 * number + len(arm))))
    await asyncio.sleep(arguments.lead - 0.5)
    pace_s = 0.0 if arm == "stock" else float((await daemon.host()).enforced["pacing_interval_s"])
    run = await replay
    seen = seen_in(run.results, arguments.lead, arguments.lead + arguments.burst, TTFT_LIMIT_S, TPOT_LIMIT_S)
    return Burst(arm, pace_s, seen)


def arrivals(arguments: argparse.Namespace, seed: int) -> Iterator[PlannedRequest]:
    """Poisson arrivals whose rate is a step up and a step down."""
    draws, due_s, index = random.Random(seed), 0.0, 0
    end_s = arguments.lead + arguments.burst
    while True:
        high = arguments.lead <= due_s < end_s
        gap_s = draws.expovariate(arguments.base * (arguments.times if high else 1))
        if due_s < arguments.lead < due_s + gap_s:  # the rate changes before the next arrival: draw anew from there
            due_s = arguments.lead
            continue
        due_s += gap_s
        if due_s > end_s + CALM_AFTER_S:
            return
        yield PlannedRequest(index, due_s, PROMPT_TOKENS, OUTPUT_TOKENS)
        index += 1


def rows_of(pairs: Sequence[tuple[Burst, Burst]], times: float) -> list[Row]:
    """TTFT's tail during the bursts that met a paced engine."""
    met = [(s, g) for s, g in pairs if g.pace_before_s > 0]
    rows: list[Row] = [exactly("bursts that met a paced engine", len(met), len(pairs))]
    if not met:
        return rows
    ratio = paired_ratio([g.during.ttft_p99_s or 0 for _, g in met], [s.during.ttft_p99_s or 1 for s, _ in met])
    requests = sum(g.during.requests for _, g in met)
    return [
        *rows,
        at_most(f"TTFT p99 during a burst of {times:g} times, governed / stock, median", ratio.median, TARGET),
        *interval_rows(ratio),
        at_least(
            f"SLO attainment of {requests} requests in bursts", sum(g.during.good for _, g in met) / requests, 0.99
        ),
        exactly("requests failed", sum(b.during.failed for pair in pairs for b in pair), 0),
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--base", type=float, default=2.0, help="requests/s before and after (default: 2)")
    parser.add_argument("--times", type=float, default=10.0, help="how much faster the burst is (default: 10)")
    parser.add_argument("--lead", type=float, default=35.0, help="seconds before the burst (default: 35)")
    parser.add_argument("--burst", type=float, default=10.0, help="seconds of the burst (default: 10)")
    parser.add_argument("--repeats", type=int, default=4, help="bursts per arm (default: 4)")
    return command.run("gpu.burst", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
