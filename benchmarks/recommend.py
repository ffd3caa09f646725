"""How long it takes to learn from trials and to say what to try next, paired with Ax.

    python -m benchmarks.recommend [--quick]

Both get the same trials of the study's space, drawn from the table of `benchmarks.optimisers`, and each pair of
timings shares its moment. Ours fits both objectives and feasibility and suggests from all candidates; Ax does the same
with what it chooses by default, after a first suggestion that warms it up. A decision takes the front of a fitted
surrogate, foretells it for the workload of the moment and picks the best. Ax is in the extra `bench`, which `make bench
NAME=recommend` installs.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.optimiser_arms import KNOBS, ax_client
from benchmarks.harness.rows import at_most, shown
from benchmarks.harness.seed_trials import CANONICAL, CONTEXT, SPACE, enumeration, is_allowed
from benchmarks.harness.statistics import paired_ratio
from benchmarks.harness.tabular import REFERENCE, Table, kept_table, values_of
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import (
    FitOptions,
    SuggestOptions,
    Surrogates,
    Trial,
    fit,
    pareto_front,
    suggest,
)

CANDIDATES = [each for each in enumeration() if is_allowed(each)]
OPTIONS = FitOptions(canonical=CANONICAL)

#: Trials behind a suggestion, with the longest time that fit and suggestion may take.
SIZES = {40: 0.5, 200: 1.0}

#: Ax at this size for the pair; at 200 trials it takes tens of seconds.
PAIRED_SIZE = 40


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Time ours at both sizes, Ax at one of them, and decisions."""
    table = await asyncio.to_thread(kept_table, arguments.cache)
    repetitions = 3 if arguments.quick else arguments.repetitions
    ours: dict[int, list[float]] = {size: [] for size in SIZES}
    first: dict[int, list[float]] = {size: [] for size in SIZES}
    theirs: list[float] = []
    decisions: list[float] = []
    forecasts: list[float] = []
    once(trials_of(table, 12, 0), None)  # imports and first allocations belong to no figure
    for seed in range(repetitions):
        for size in SIZES:
            trials = trials_of(table, size, seed)
            seconds, before = once(trials[:-1], None)
            first[size].append(seconds)
            ours[size].append(once(trials, before)[0])
        if not arguments.quick:
            theirs.append(await asyncio.to_thread(ax_once, trials_of(table, PAIRED_SIZE, seed)))
        surrogates = fit(trials_of(table, 200, seed), SPACE, OPTIONS)
        seconds, front = timed_front(surrogates)
        forecasts.append(seconds)
        decisions += [decision(surrogates, front, rate) for rate in (1.0, 10.0, 100.0)]
        console.print(f"seed {seed}: " + ", ".join(f"{size} trials {of[-1]:.3f} s" for size, of in ours.items()))
    rows = [
        at_most(f"fit and suggestion, {size} trials, warm: median", median(ours[size]), limit, "s")
        for size, limit in SIZES.items()
    ]
    rows += [
        shown(f"fit and suggestion, {size} trials, the first fit: median", median(first[size]), "s") for size in SIZES
    ]
    if theirs:
        ratio = paired_ratio(ours[PAIRED_SIZE], theirs)
        rows += [
            at_most(f"fit and suggestion, {PAIRED_SIZE} trials, ours over Ax", ratio.median, 0.1),
            shown("upper end of that ratio's interval", ratio.high),
            shown(f"Ax, {PAIRED_SIZE} trials: median", median(theirs), "s"),
        ]
    rows += [
        at_most("a decision from a fitted front: longest", max(decisions), 0.01, "s"),
        shown(f"forecasts of {len(CANDIDATES)} candidates and their front: median", median(forecasts), "s"),
    ]
    return command.Findings(
        rows=rows,
        notes=[
            f"{repetitions} repetitions with other trials each; intervals are 95 % bootstrap intervals of the median. "
            "Warm is a fit that starts where the fit without the newest trial ended, as the daemon's do.",
        ],
        details={"ours_s": ours, "first_s": first, "ax_s": theirs, "decisions_s": decisions},
    )


def trials_of(table: Table, count: int, seed: int) -> list[Trial]:
    """Different configurations that are allowed, measured with the study's noise."""
    order = np.random.default_rng(seed).permutation(len(CANDIDATES))[:count]
    return [table.look(CANDIDATES[index], seed, at) for at, index in enumerate(order)]


def once(trials: list[Trial], warm: Surrogates | None) -> tuple[float, Surrogates]:
    """Seconds of one fit and one suggestion."""
    began_s = time.perf_counter()
    surrogates = fit(trials, SPACE, OPTIONS, warm)
    suggest(surrogates, CANDIDATES, CONTEXT, options=SuggestOptions(reference_point=REFERENCE))
    return time.perf_counter() - began_s, surrogates


def ax_once(trials: list[Trial]) -> float:
    """Seconds in which Ax says what to try, told of the same trials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its words about its own defaults
        logging.disable(logging.WARNING)
        client: Any = ax_client(seed=0)
        for trial in trials:
            index = client.attach_trial(parameters={name: trial.configuration[name] for name in KNOBS})
            throughput, energy = values_of(trial)
            client.complete_trial(trial_index=index, raw_data={"throughput": throughput, "energy": energy})
        client.get_next_trials(max_trials=1)  # what it does once: imports, and the choice of its method
        began_s = time.perf_counter()
        client.get_next_trials(max_trials=1)
        seconds = time.perf_counter() - began_s
        logging.disable(logging.NOTSET)
        return seconds


def timed_front(surrogates: Surrogates) -> tuple[float, list[Configuration]]:
    """Seconds to foretell every candidate, and the front."""
    began_s = time.perf_counter()
    front = pareto_front(surrogates.forecast(CANDIDATES, CONTEXT))
    return time.perf_counter() - began_s, [forecast.configuration for forecast in front]


def decision(surrogates: Surrogates, front: list[Configuration], rate_rps: float) -> float:
    """Seconds to foretell the front under a workload and to pick what costs the least energy."""
    context = WorkloadContext(rate_rps, CONTEXT.prompt_tokens, CONTEXT.output_tokens)
    began_s = time.perf_counter()
    forecasts = pareto_front(surrogates.forecast(front, context))
    min(forecasts, key=lambda each: each.energy_per_output_token_j.median if each.energy_per_output_token_j else 0.0)
    return time.perf_counter() - began_s


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--repetitions", type=int, default=10, help="pairs (default: 10)")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "reconfigure-optimisers", help="of the table"
    )
    return command.run("recommend", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
