"""How well surrogates foretell configurations that they were never shown, on an H200, in another session.

    python -m benchmarks.surrogate_h200 [--training FILE] [--held-out FILE] [--splits N]

Both files are raw measurements by `benchmarks.gpu.surrogate_trials`, committed in `benchmarks/measurements/`; this
command computes on them and needs no GPU. The surrogates are fitted to the training session as the daemon would fit
them, and asked for each held-out configuration under its load. What was measured of one is the median of its three
windows, so that one which the host disturbed does not count; R2 and MAPE are on those medians, on the quantity's own
scale. The 95 % intervals are for one outcome, so each window counts for their coverage. Beside them: a ridge regression
of the logarithm on the same inputs, the training's mean, and the R2 that a perfect model would reach against medians as
noisy as these. Two dozen configurations are few to judge intervals by, so that one window more or less decides; for
that, the configurations of both sessions are dealt out again at random, `--splits` times, as many to learn from and as
many to judge by as before.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, variance
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.machine import PROJECT
from benchmarks.harness.rows import Row, at_least, at_most, shown
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.forecast import Estimate, WorkloadContext
from reconfigure_policies.surrogate import FitOptions, Measured, Quantity, Trial, estimate_of, fit, quality
from reconfigure_policies.surrogate.assessment import r_squared, ridge
from reconfigure_policies.surrogate.encoding import Encoding, encoding_of
from reconfigure_policies.surrogate.gaussian_process import Array

MEASUREMENTS = PROJECT / "benchmarks" / "measurements" / "surrogate_h200"
TARGETS = {Quantity.THROUGHPUT: (0.98, 0.04), Quantity.ENERGY: (0.95, 0.05)}
NAMES = {Quantity.THROUGHPUT: "saturated throughput", Quantity.ENERGY: "energy per output token"}
UNITS = {Quantity.THROUGHPUT: "tokens/s", Quantity.ENERGY: "J"}

#: Variance of the median of so many normal values, as a share of theirs (David and Nagaraja 2003, Order Statistics).
VARIANCE_OF_MEDIAN = {1: 1.0, 2: 0.5, 3: 0.4487}


@dataclass(frozen=True)
class HeldOut:
    """One held-out configuration: what its windows measured, and what was foretold.

    Attributes:
        name: of the trial.
        windows: every value that was measured.
        estimate: what the surrogates foretold.
        ridge: what the ridge regression foretold.
    """

    name: str
    windows: tuple[float, ...]
    estimate: Estimate
    ridge: float

    @property
    def median(self) -> float:
        """Of its windows."""
        return median(self.windows)


@dataclass(frozen=True)
class Scores:
    """How well one fit foretold a quantity: R2 and error of medians, share of the windows inside their intervals."""

    r2: float | None
    mape: float
    coverage: float

    @classmethod
    def of(cls, judged: Sequence[HeldOut]) -> Scores:
        """Of all held-out configurations."""
        measured, foretold = np.array([[each.median, each.estimate.median] for each in judged]).T
        inside = [each.estimate.low <= value <= each.estimate.high for each in judged for value in each.windows]
        return cls(r_squared(measured, foretold), mape(measured, foretold), fmean(inside))


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Fit to one session, judge by the other."""
    files = (("training", arguments.training), ("held_out", arguments.held_out))
    training, held_out = (session_of(path or MEASUREMENTS / f"{name}.json", name) for name, path in files)
    space = space_of(training)
    learned_from, judged_by = trials_of(training), trials_of(held_out)
    refuse_shared(learned_from, judged_by)
    trials, windows = list(learned_from.values()), by_configuration(judged_by)
    surrogates = fitted(trials, space)
    rows: list[Row] = []
    details: dict[str, Any] = {}
    for quantity in TARGETS:
        judged = judge(quantity, surrogates, trials, windows, space)
        rows += rows_of(quantity, judged, [trial.measured[quantity].value for trial in trials])
        details[quantity.value] = [
            {"trial": each.name, "measured": each.windows, "foretold": vars_of(each.estimate), "ridge": each.ridge}
            for each in judged
        ]
    splits = [split_again(learned_from, judged_by, space, seed) for seed in range(arguments.splits)]
    details["splits"] = [{quantity.value: vars_of(scores) for quantity, scores in each.items()} for each in splits]
    rows += rows_of_splits(splits)
    own = quality(surrogates)
    details["leave_one_out"] = {q.value: vars_of(found) for q, found in own.by_quantity.items()}
    details["runs"] = {"training": training["runs"], "held_out": held_out["runs"]}
    rows.append(shown("training trials", len(trials)))
    rows.append(shown("held-out configurations", len(windows)))
    notes = [
        f"Windows of {held_out['seconds']['rate_window']:g} s at a rate, and of at least "
        f"{held_out['seconds']['saturated_window']:g} s, to the end of a round, of a full engine.",
        f"{training['model']}, requests of {training['prompt_tokens']} + {training['output_tokens']} tokens.",
        "Energy is of the GPU's own counter, and includes prefill and idle energy at the trial's arrival rate.",
        f"Knobs: {', '.join(f'{knob.name} ({knob.tier.value})' for knob in space.knobs)}.",
    ]
    if own.faults:
        notes.append(f"Of themselves they say that they are not to be trusted: {'; '.join(own.faults)}.")
    if "emulated" in (training["engine"], held_out["engine"]):
        notes.append("Of an emulated engine: not a measurement of a GPU.")
    measured = [{**run, "date": run["began"]} for session in (training, held_out) for run in session["runs"]]
    console.print(f"fitted to {len(trials)} trials, judged by {len(judged_by)} windows")
    return command.Findings(rows, notes, details, measured)


def session_of(path: Path, session: str) -> dict[str, Any]:
    """A session's file.

    Raises:
        RequestInvalid: if it is not there, something else, or of the other session.
    """
    if not path.is_file():
        raise RequestInvalid(f"there is no {path}; measure it with `python -m benchmarks.gpu.surrogate_trials`")
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        of = found["session"]
    except (ValueError, TypeError, KeyError):
        raise RequestInvalid(f"{path} is no file of `python -m benchmarks.gpu.surrogate_trials`") from None
    if of != session:
        raise RequestInvalid(f"{path} is of session {of}; name one of session {session}")
    return found


def space_of(session: dict[str, Any]) -> ConfigurationSpace:
    """The knobs that a session varied, with the values that it measured; words in the order of their first trial."""
    knobs = []
    for tier in (Tier.COLD, Tier.HOT):
        for name in session["trials"][0][tier.value]:
            found = list(dict.fromkeys(trial[tier.value][name] for trial in session["trials"]))
            values = tuple(found if isinstance(found[0], str) else sorted(found))
            knobs.append(Knob(name, tier, values, values[0]))
    return ConfigurationSpace(tuple(knobs))


def trials_of(session: dict[str, Any]) -> dict[str, Trial]:
    """Every window as a trial, by its key; one with failed requests or without tokens is left out."""
    prompt, output = session["prompt_tokens"], session["output_tokens"]
    found: dict[str, Trial] = {}
    for each in session["trials"]:
        rate, saturated = each["at_rate"], each["saturated"]
        if rate["failed"] or saturated["failed"] or not rate["energy_per_output_token_j"]:
            continue
        found[each["key"]] = Trial(
            Configuration({**each["cold"], **each["hot"]}),
            WorkloadContext(each["arrival_rate_rps"], prompt, output),
            float(len(found)),
            {
                Quantity.ENERGY: Measured(rate["energy_per_output_token_j"]),
                Quantity.THROUGHPUT: Measured(saturated["output_tps"]),
            },
        )
    return found


def refuse_shared(training: dict[str, Trial], held_out: dict[str, Trial]) -> None:
    """A configuration in both sessions would say nothing.

    Raises:
        RequestInvalid: with it.
    """
    shared = {t.configuration for t in training.values()} & {t.configuration for t in held_out.values()}
    if shared:
        raise RequestInvalid(f"{next(iter(shared))} is in both sessions; held-out configurations are never trained on")


def fitted(trials: Sequence[Trial], space: ConfigurationSpace) -> Any:
    """Surrogates of the two quantities, fitted as the daemon fits them."""
    return fit(list(trials), space, FitOptions(quantities=tuple(TARGETS)))


def by_configuration(trials: dict[str, Trial]) -> dict[str, list[Trial]]:
    """The windows of each configuration, by the name that its trials share."""
    windows: dict[str, list[Trial]] = defaultdict(list)
    for key, trial in trials.items():
        windows[name_of(key)].append(trial)
    return windows


def judge(
    quantity: Quantity,
    surrogates: Any,
    training: Sequence[Trial],
    windows: dict[str, list[Trial]],
    space: ConfigurationSpace,
) -> list[HeldOut]:
    """Every held-out configuration, by its windows, with its forecasts."""
    encoding = encoding_of(space, [trial.context for trial in training], FitOptions().canonical)
    logarithms = np.log([trial.measured[quantity].value for trial in training])
    first = [trials[0] for trials in windows.values()]
    foretold = np.exp(ridge(columns(training, encoding), logarithms, columns(first, encoding)))
    judged = []
    for (name, trials), linear in sorted(zip(windows.items(), foretold, strict=True), key=lambda each: each[0][0]):
        (forecast,) = surrogates.forecast([trials[0].configuration], trials[0].context)
        estimate = estimate_of(forecast, quantity)
        assert estimate is not None, "both quantities were measured"
        values = tuple(trial.measured[quantity].value for trial in trials)
        judged.append(HeldOut(name, values, estimate, float(linear)))
    return judged


def columns(trials: Sequence[Trial], encoding: Encoding) -> Array:
    """What the surrogates see of trials, as `assessment` gives it to the regression that they are held against."""
    inputs, features = encoding.encode([trial.configuration for trial in trials], [trial.context for trial in trials])
    return np.hstack([inputs, features[:, 1:]])


def rows_of(quantity: Quantity, judged: Sequence[HeldOut], training: Sequence[float]) -> list[Row]:
    """R2 and error against their targets, coverage, and what they stand beside."""
    name, (least_r2, most_error) = NAMES[quantity], TARGETS[quantity]
    measured = np.array([each.median for each in judged])
    linear = np.array([each.ridge for each in judged])
    mean = np.full(len(judged), fmean(training))
    scores = Scores.of(judged)
    is_calibrated = 0.93 <= scores.coverage <= 0.98
    return [
        at_least(f"{name}: R2 on held-out configurations", scores.r2, least_r2),
        at_most(f"{name}: mean absolute error", scores.mape, most_error),
        Row(f"{name}: windows inside their 95 % interval", scores.coverage, "", "0.93 to 0.98", is_calibrated),
        shown(f"{name}: R2 of a perfect model, by the windows' noise", ceiling(judged)),
        shown(f"{name}: R2 of ridge regression", r_squared(measured, linear)),
        shown(f"{name}: error of ridge regression", mape(measured, linear)),
        shown(f"{name}: R2 of the training's mean", r_squared(measured, mean)),
        shown(f"{name}: least measured", float(measured.min()), UNITS[quantity]),
        shown(f"{name}: most measured", float(measured.max()), UNITS[quantity]),
    ]


def split_again(
    training: dict[str, Trial], held_out: dict[str, Trial], space: ConfigurationSpace, seed: int
) -> dict[Quantity, Scores]:
    """How well both quantities are foretold with the configurations of both sessions dealt out at random.

    As many configurations as the training session had are learned from: a window of each, and a second one of some, up
    to as many as it had. All windows of the others judge.
    """
    sessions = {"training": by_configuration(training), "held_out": by_configuration(held_out)}
    windows = {f"{of} {name}": trials for of, found in sessions.items() for name, trials in found.items()}
    names = sorted(windows)
    random.Random(seed).shuffle(names)
    learned, others = names[: len(sessions["training"])], names[len(sessions["training"]) :]
    repeats = [windows[name][1] for name in learned if len(windows[name]) > 1]
    trials = [*(windows[name][0] for name in learned), *repeats[: len(training) - len(learned)]]
    surrogates, judging = fitted(trials, space), {name: windows[name] for name in others}
    return {quantity: Scores.of(judge(quantity, surrogates, trials, judging, space)) for quantity in TARGETS}


def rows_of_splits(splits: Sequence[dict[Quantity, Scores]]) -> list[Row]:
    """What the splits found: medians of R2 and error, the mean share of windows inside."""
    rows = []
    for quantity in TARGETS if splits else ():
        found = [each[quantity] for each in splits]
        of = f"{NAMES[quantity]}, {len(splits)} random splits of both sessions"
        rows += [
            shown(f"{of}: median R2", median(each.r2 or 0.0 for each in found)),
            shown(f"{of}: median of the mean absolute error", median(each.mape for each in found)),
            shown(f"{of}: windows inside their 95 % interval", fmean(each.coverage for each in found)),
        ]
    return rows


def mape(measured: Array, foretold: Array) -> float:
    """Mean absolute error as a share of what was measured."""
    return float(np.abs(foretold / measured - 1).mean())


def ceiling(judged: Sequence[HeldOut]) -> float | None:
    """R2 of a model that knows each true value, against medians of few noisy windows; None without repetitions."""
    repeated = [each for each in judged if len(each.windows) > 1]
    if not repeated:
        return None
    noise = fmean(variance(each.windows) * VARIANCE_OF_MEDIAN[len(each.windows)] for each in repeated)
    return 1 - noise / variance([each.median for each in judged])


def name_of(key: str) -> str:
    """A trial's name without its round."""
    return key.rpartition("/")[0]


def vars_of(each: Any) -> dict[str, Any]:
    """A frozen dataclass's fields."""
    return {name: getattr(each, name) for name in each.__dataclass_fields__}


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--training", type=Path, help="a training session (default: the committed one)")
    parser.add_argument("--held-out", type=Path, help="a held-out session (default: the committed one)")
    parser.add_argument("--splits", type=int, default=40, help="random splits of both sessions (default: 40)")
    return command.run("surrogate_h200", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
