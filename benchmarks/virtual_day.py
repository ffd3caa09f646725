"""A day of the slow loop in virtual time: what it saves of what can be saved, how the SLO fares, and what it notices.

    python -m benchmarks.virtual_day [--quick]

Policies, guardrails and shift detection are the daemon's own; the engine is the emulated one at the grain of half
minutes, and forecasts err as those of a well-fitted surrogate do. The day is ServeGen's m-small, each recorded request
standing for several, so that one GPU is enough for most of the day and not for all of it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import sys
import time
from collections.abc import Sequence
from statistics import fmean

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.result import RESULTS
from benchmarks.harness.rows import at_least, at_most, exactly, shown
from benchmarks.harness.trace import plan_of, trace_path
from reconfigure_daemon.load_generation.plan import PlanOptions
from reconfigure_daemon.virtual_world.clairvoyant import Hindsight, look_back
from reconfigure_daemon.virtual_world.daemon_day import Day, Orders, live
from reconfigure_daemon.virtual_world.traffic import WINDOW_S, WindowTraffic, windows_of
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.decision import DecisionTerms
from reconfigure_policies.domain.configuration import ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective

TRACE, CHAT, CODE = "servegen_m-small_day.csv.gz", "azure_2023_conv.csv.gz", "azure_2023_code.csv.gz"

#: How many requests each recorded one stands for.
TIMES = 27

DAY_WINDOWS = round(86_400 / WINDOW_S)
NOON_S = 43_200.0

SLO = ServiceLevelObjective(ttft_s=1.0, tpot_s=0.05)
SPACE = ConfigurationSpace(
    (
        Knob("tensor_parallel_size", Tier.COLD, (1, 2, 4), 2),
        Knob("pacing_interval_s", Tier.HOT, (0.0, 0.01, 0.02, 0.03, 0.04, 0.045), 0.0),
        Knob("max_num_seqs", Tier.HOT, (512,), 512),
        Knob("max_num_batched_tokens", Tier.HOT, (8192,), 8192),
    )
)
ORDERS = Orders(SPACE, SLO, Objective.ENERGY, DecisionTerms(), SPACE.default())

#: Requests each second of the chat that becomes code, and of the stationary day.
RATE_RPS = 5.4

Shape = tuple[int, int]


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """All days, seed by seed."""
    seeds = range(2 if arguments.quick else arguments.seeds)
    windows = windows_of(plan_of(TRACE, PlanOptions(limit_s=86_400.0)).requests, TIMES)
    console.print(f"{len(windows)} windows; looking back on them with every candidate")
    hindsight = look_back(windows, SPACE, WindowModel(SLO))
    days, seconds = [], []
    for seed in seeds:
        began_s = time.process_time()
        days.append(live(windows, ORDERS, WindowModel(SLO), seed))
        seconds.append(time.process_time() - began_s)
        console.print(f"seed {seed}: {saved_share(days[-1], hindsight):.3f} of the clairvoyant saving")
    chat, code = shapes(CHAT), shapes(CODE)
    noticed = [noticed_after_s(live(chat_to_code(chat, code, seed), ORDERS, WindowModel(SLO), seed)) for seed in seeds]
    alarms = [len(live(stationary(chat, seed), ORDERS, WindowModel(SLO), seed).shifts) for seed in seeds]
    worst_noticed = None if None in noticed else max(each for each in noticed if each is not None)
    shares = [saved_share(day, hindsight) for day in days]
    savable = 1 - hindsight.clairvoyant.energy_j / hindsight.single_account.energy_j
    return command.Findings(
        rows=[
            at_least("share of the clairvoyant schedule's saving, mean of the seeds", fmean(shares), 0.85),
            shown("the same, worst seed", min(shares)),
            shown("what the clairvoyant schedule saves against the best single configuration", 100 * savable, "%"),
            at_least("requests inside the SLO, worst seed", 100 * min(day.attainment for day in days), 99, "%"),
            shown("the same, best single configuration", 100 * hindsight.single_account.attainment, "%"),
            at_most("cold switches of a day, worst seed", max(day.cold_switches for day in days), 12),
            at_most("chat to code at noon: named after, worst seed", worst_noticed, 120, "s"),
            exactly("stationary day: false alarms, all seeds", sum(alarms), 0),
            at_most("processor time of a day, worst seed", max(seconds), 60, "s"),
        ],
        notes=[
            "From the emulated engine's model of step times and joules, not a measurement of any GPU.",
            f"{len(seeds)} seeds of forecast errors and of noise; each recorded request stands for {TIMES}.",
            f"SLO: TTFT {SLO.ttft_s:g} s, TPOT {SLO.tpot_s:g} s. Best single configuration: {hindsight.single}.",
        ],
        details={
            "shares": shares,
            "attainment": [day.attainment for day in days],
            "cold_switches": [day.cold_switches for day in days],
            "named_after_s": noticed,
            "false_alarms": alarms,
            "day_s": seconds,
            "shifts": [[[shift.at_s, str(shift)] for shift in day.shifts] for day in days[:1]],
            "decisions": [[[at, decision.reason] for at, decision in day.decisions] for day in days[:1]],
        },
    )


def saved_share(day: Day, hindsight: Hindsight) -> float:
    """How much of what can be saved against the best single configuration was saved."""
    single_j = hindsight.single_account.energy_j
    return (single_j - day.energy_j) / (single_j - hindsight.clairvoyant.energy_j)


def noticed_after_s(day: Day) -> float | None:
    """When the shift at noon was named, as what it is; None if it never was."""
    named = (shift for shift in day.shifts if shift.at_s > NOON_S and "from chat to code" in str(shift))
    first = next(named, None)
    return None if first is None else first.at_s - NOON_S


def shapes(trace: str) -> list[Shape]:
    """Prompt and output lengths of a trace of Azure's."""
    with gzip.open(trace_path(trace), "rt", newline="") as lines:
        return [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(lines)]


def chat_to_code(chat: Sequence[Shape], code: Sequence[Shape], seed: int) -> list[WindowTraffic]:
    """A day that is chat until noon and code from then on, at the same rate."""
    draw = random.Random(seed)
    return [drawn(chat if index * WINDOW_S < NOON_S else code, draw) for index in range(DAY_WINDOWS)]


def stationary(chat: Sequence[Shape], seed: int) -> list[WindowTraffic]:
    """A day on which nothing changes."""
    draw = random.Random(1000 + seed)
    return [drawn(chat, draw) for _ in range(DAY_WINDOWS)]


def drawn(
    recorded: Sequence[Shape], draw: random.Random, rate_rps: float = RATE_RPS, window_s: float = WINDOW_S
) -> WindowTraffic:
    """A window of independent arrivals with recorded lengths."""
    at_s, requests = draw.expovariate(rate_rps), []
    while at_s < window_s:
        requests.append(draw.choice(recorded))
        at_s += draw.expovariate(rate_rps)
    prompts = sorted(prompt for prompt, _ in requests) or [0]
    tail = prompts[int(0.99 * (len(prompts) - 1))]
    return WindowTraffic(window_s, len(requests), sum(prompts), sum(output for _, output in requests), tail)


def virtual_main(name: str, doc: str | None, measure: command.Measure) -> int:
    """The command of a benchmark in virtual time, with the seeds that it takes."""
    parser = command.options(doc)
    parser.set_defaults(engine="emulated")  # there is no other one in virtual time, and the result says so
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    if not parser.parse_args().quick:
        parser.set_defaults(output=RESULTS / f"{name}.json")
    return command.run(name, parser, measure)


def main() -> int:
    """The command."""
    return virtual_main("virtual_day", __doc__, measure)


if __name__ == "__main__":
    sys.exit(main())
