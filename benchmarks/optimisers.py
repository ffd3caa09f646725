"""Hypervolume after forty trials on a table of every configuration, ours against other optimisers, paired by seed.

    python -m benchmarks.optimisers [--quick] [--seeds 10] [--arms ours,TPE] [--cache FOLDER]

Each arm's run with each seed is kept in the cache, so that an interrupted benchmark goes on, and several processes may
share the work. The same seed sees the same noise. Ax is slow: a seed of it takes minutes. Ax and Optuna are the extra
`bench`, which `make bench NAME=optimisers` installs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from rich.console import Console
from scipy.stats import wilcoxon

from benchmarks.harness import command
from benchmarks.harness.optimiser_arms import ARMS, PENALTY, run_arm
from benchmarks.harness.rows import Row, at_least, at_most, below, shown
from benchmarks.harness.tabular import BETTER_NOISE, STUDY_NOISE, Table, kept_table

BUDGET = 40

#: Library defaults that ours must beat, and how sure of it.
SIGNIFICANT = 0.05

#: The share of the exhaustive front that counts as found.
FOUND = 0.95

Runs = dict[str, dict[int, list[float]]]


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Run what the cache lacks, and compare."""
    truth = await asyncio.to_thread(kept_table, arguments.cache)
    ended = threading.Event()
    work = Work(arguments, console, ended)
    try:
        runs = await asyncio.to_thread(work.all_runs, truth)
        better = Table(truth.truth, BETTER_NOISE)
        ours_better = await asyncio.to_thread(work.arm_runs, "ours", better, "better-noise")
    except asyncio.CancelledError:
        ended.set()
        raise
    return command.Findings(
        rows=[
            *rows(runs),
            shown("ours with requests/s and generation-only joules: mean share", last_mean(ours_better)),
        ],
        notes=[
            f"{BUDGET} trials on {len(truth.truth)} configurations that differ to the engine, of 2,916 in the space; "
            "reference point 200 tokens/s and 2 J/token; shares by true values, trials seen with the study's noise "
            f"({100 * STUDY_NOISE[0]:g} % and {100 * STUDY_NOISE[1]:g} %).",
            "Ours is told how many GPUs the machine has. Optuna learns of infeasible trials that they failed, Ax that "
            f"they gave {PENALTY[0]:g} tokens/s at {PENALTY[1]:g} J/token, since it repeats what has only failed. "
            "One-sided Wilcoxon signed-rank tests over the seeds that both arms ran.",
            *[
                f"{name}: {len(of)} of {len(runs['ours'])} seeds were run, and fewer than five cannot reach p < 0.05; "
                "the same command goes on where it stopped."
                for name, of in runs.items()
                if "ours" in runs and 0 < len(of) < 5 and not arguments.quick
            ],
        ],
        details={"shares": {name: {str(seed): run for seed, run in of.items()} for name, of in runs.items()}},
    )


@dataclass(frozen=True)
class Work:
    """Runs, from the cache where it has them.

    Attributes:
        arguments: of the command.
        console: tells of each run.
        ended: set when nobody waits any more.
    """

    arguments: argparse.Namespace
    console: Console
    ended: threading.Event

    def all_runs(self, truth: Table) -> Runs:
        """Every arm's shares by seed."""
        names = self.arguments.arms.split(",") if self.arguments.arms else list(ARMS)
        if self.arguments.quick:
            names = [name for name in names if not name.startswith("Ax")]
        return {name: self.arm_runs(name, truth, "study-noise") for name in names}

    def arm_runs(self, name: str, truth: Table, what: str) -> dict[int, list[float]]:
        """One arm's shares by seed."""
        runs: dict[int, list[float]] = {}
        for seed in range(2 if self.arguments.quick else self.arguments.seeds):
            kept = self.arguments.cache / f"{what}-{name.replace(' ', '-')}-{seed}.json"
            if not kept.is_file():
                if self.arguments.only_cached:
                    continue
                shares = run_arm(name, truth, seed, BUDGET, self.ended)
                kept.write_text(json.dumps(shares), encoding="utf-8")
                self.console.print(
                    f"{name}, seed {seed}: {shares[-1]:.3f}, {FOUND:.0%} after {trials_to(shares)} trials"
                )
            runs[seed] = json.loads(kept.read_text(encoding="utf-8"))
        return runs


def rows(runs: Runs) -> list[Row]:
    """Ours with its targets, then every other arm, and the tests."""
    found: list[Row] = []
    if ours := runs.get("ours"):
        found += [
            at_least("ours: mean share of the exhaustive hypervolume after 40 trials", last_mean(ours), 0.97),
            at_most("ours: trials to 95 % of it, median seed", median(map(trials_to, ours.values())), 25),
            shown("ours: lowest share of a seed", min(run[-1] for run in ours.values())),
        ]
    for name, of in runs.items():
        if name == "ours" or not of:
            continue
        found.append(shown(f"{name}: mean share, {len(of)} seeds", last_mean(of)))
        if ours:
            p = p_value(ours, of, last)
            what = f"ours over {name}: p"
            found.append(below(what, p, SIGNIFICANT) if ARMS[name][1] else shown(what, p))
            found.append(shown(f"{what} of the share averaged over all trials", p_value(ours, of, mean)))
    return found


def last_mean(of: dict[int, list[float]]) -> float:
    """Mean over seeds of the final share."""
    return mean(map(last, of.values()))


def trials_to(shares: list[float]) -> int:
    """How many trials it took to find the front; one more than there were if it was not found."""
    return next((count + 1 for count, share in enumerate(shares) if share >= FOUND), len(shares) + 1)


def last(shares: list[float]) -> float:
    """What was reached in the end."""
    return shares[-1]


def p_value(
    ours: dict[int, list[float]], theirs: dict[int, list[float]], score: Callable[[list[float]], float]
) -> float:
    """Of ours being no better than theirs, by a score of each seed that both ran."""
    pairs = [(score(ours[seed]), score(theirs[seed])) for seed in ours if seed in theirs]
    return float(wilcoxon(*zip(*pairs, strict=True), alternative="greater").pvalue)


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--arms", default="", help="names, comma-separated, of: " + " · ".join(ARMS))
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "reconfigure-optimisers", help="finished runs"
    )
    parser.add_argument("--only-cached", action="store_true", help="compare what is there, run nothing")
    return command.run("optimisers", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
