"""Loads that swing tenfold, in virtual time: whether the slow loop has enough GPUs serving when they are needed.

    python -m benchmarks.virtual_swings [--quick]

Three hours of swings of several lengths, after half an hour at the low end: conversations at 5 to 50 requests each
second, for which one GPU is enough at the low end and two are not at the high one. Policies and guardrails are the
daemon's own, as shipped; the engine is the emulated one at the grain of ten seconds, and forecasts err as those of a
well-fitted surrogate do. Each swing is lived through twice: with arrivals counted between windows, as the daemon does,
and without, by windows alone.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from statistics import fmean

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.rows import Row, shown
from benchmarks.harness.swing import swinging_rps
from benchmarks.virtual_day import CHAT, ORDERS, SLO, Shape, drawn, shapes, virtual_main
from reconfigure_daemon.virtual_world.daemon_day import Day, live
from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_daemon.virtual_world.window_model import WindowModel

LOW_RPS, TIMES = 5.0, 10.0
WINDOW_S = 10.0
BEFORE_S, SWINGING_S = 1800.0, 3 * 3600.0
MINUTES = (8, 16, 30, 60)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """All lengths, all seeds, both ways."""
    recorded = shapes(CHAT)
    seeds = range(1 if arguments.quick else arguments.seeds)
    rows: list[Row] = []
    details: dict[str, list[dict[str, float]]] = {}
    for minutes in MINUTES:
        days = [lived(recorded, 60.0 * minutes, seed) for seed in seeds]
        rows += rows_of(minutes, days)
        details[f"{minutes} min"] = [figures(day) for pair in days for day in pair]
        console.print(f"swings of {minutes} min: done")
    notes = [
        "From the emulated engine's model of step times and joules, not a measurement of any GPU.",
        f"{len(seeds)} seeds of arrivals, forecast errors and noise; {LOW_RPS:g} to {LOW_RPS * TIMES:g} requests/s.",
        f"SLO: TTFT {SLO.ttft_s:g} s, TPOT {SLO.tpot_s:g} s; at most {ORDERS.terms.max_switches_per_hour} redeploys "
        "an hour.",
    ]
    return command.Findings(rows, notes, details)


def lived(recorded: Sequence[Shape], length_s: float, seed: int) -> tuple[Day, Day]:
    """With arrivals counted between windows, and without."""
    windows = swings(recorded, length_s, seed)
    counting, by_windows = (
        live(windows, ORDERS, WindowModel(SLO), seed, looks_ahead=looks_ahead) for looks_ahead in (True, False)
    )
    return counting, by_windows


def swings(recorded: Sequence[Shape], length_s: float, seed: int) -> list[WindowTraffic]:
    """Independent arrivals with recorded lengths."""
    draw = random.Random(seed)
    return [
        drawn(recorded, draw, rate_rps((index + 0.5) * WINDOW_S, length_s), WINDOW_S)
        for index in range(round((BEFORE_S + SWINGING_S) / WINDOW_S))
    ]


def rate_rps(at_s: float, length_s: float) -> float:
    """Low at first, then one swing after the other."""
    share = ((at_s - BEFORE_S) % length_s) / length_s if at_s > BEFORE_S else 0.0
    return swinging_rps(LOW_RPS, TIMES, share)


def rows_of(minutes: int, days: Sequence[tuple[Day, Day]]) -> list[Row]:
    """Of one length."""
    what = f"swings of {minutes} min"
    return [
        shown(f"{what}: requests inside the SLO, mean", 100 * fmean(day.attainment for day, _ in days), "%"),
        shown(f"{what}: the same, worst seed", 100 * min(day.attainment for day, _ in days), "%"),
        shown(f"{what}: the same by windows alone, mean", 100 * fmean(day.attainment for _, day in days), "%"),
        shown(f"{what}: joules per output token, against windows alone",
              fmean(per_token(day) / per_token(other) for day, other in days)),
        shown(f"{what}: cold switches an hour, worst seed",
              max(day.cold_switches for day, _ in days) / (BEFORE_S + SWINGING_S) * 3600),
    ]  # fmt: skip


def per_token(day: Day) -> float:
    """Joules per output token."""
    return day.energy_j / day.output_tokens


def figures(day: Day) -> dict[str, float]:
    """For the file."""
    return {"attainment": day.attainment, "joules_per_token": per_token(day), "cold_switches": day.cold_switches}


def main() -> int:
    """The command."""
    return virtual_main("virtual_swings", __doc__, measure)


if __name__ == "__main__":
    sys.exit(main())
