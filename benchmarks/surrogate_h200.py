"""How well surrogates foretell configurations that they were never shown, on an H200, in another session.

    python -m benchmarks.surrogate_h200 [--training FILE] [--held-out FILE]

Both files are raw measurements by `benchmarks.gpu.surrogate_trials`, committed in `benchmarks/measurements/`; this
command computes on them and needs no GPU. The surrogates are fitted to the training session as the daemon would fit
them, and asked for each held-out configuration under its load. What was measured of one is the median of its three
windows, so that one which the host disturbed does not count; R2 and MAPE are on those medians, on the quantity's own
scale. The 95 % intervals are for one outcome, so each window counts for their coverage. Beside them: a ridge regression
of the logarithm on the same inputs, the training's mean, and the R2 that a perfect model would reach against medians as
noisy as these.
"""

from __future__ import annotations

import argparse
import json
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


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Fit to one session, judge by the other."""
    files = (("training", arguments.training), ("held_out", arguments.held_out))
    training, held_out = (session_of(path or MEASUREMENTS / f"{name}.json", name) for name, path in files)
    space = space_of(training)
    learned_from, judged_by = trials_of(training), trials_of(held_out)
    refuse_shared(learned_from, judged_by)
    surrogates = fit(list(learned_from.values()), space, FitOptions(quantities=tuple(TARGETS)))
    rows: list[Row] = []
    details: dict[str, Any] = {}
    for quantity in TARGETS:
        judged = judge(quantity, surrogates, list(learned_from.values()), judged_by, space)
        rows += rows_of(quantity, judged, [t.measured[quantity].value for t in learned_from.values()])
        details[quantity.value] = [
            {"trial": each.name, "measured": each.windows, "foretold": vars_of(each.estimate), "ridge": each.ridge}
            for each in judged
        ]
    own = quality(surrogates)
    details["leave_one_out"] = {q.value: vars_of(found) for q, found in own.by_quantity.items()}
    details["runs"] = {"training": training["runs"], "held_out": held_out["runs"]}
    gpus = {gpu["name"] for each in (training, held_out) for run in each["runs"] for gpu in run["machine"]["gpus"]}
    rows.append(shown("training trials", len(learned_from)))
    rows.append(shown("held-out configurations", len({name_of(key) for key in judged_by})))
    notes = [
        f"Measured on {', '.join(sorted(gpus)) or 'no GPU: not a measurement of one'}, vLLM "
        f"{training['runs'][0]['versions']['vllm']}; training {training['runs'][0]['began']}, held out "
        f"{held_out['runs'][0]['began']}; {held_out['seconds']['rate_window']:g} s and "
        f"{held_out['seconds']['saturated_window']:g} s a window.",
        f"{training['model']}, requests of {training['prompt_tokens']} + {training['output_tokens']} tokens.",
        "Energy is of the GPU's own counter, and includes prefill and idle energy at the trial's arrival rate.",
        f"Knobs: {', '.join(f'{knob.name} ({knob.tier.value})' for knob in space.knobs)}.",
    ]
    if own.faults:
        notes.append(f"Of themselves they say that they are not to be trusted: {'; '.join(own.faults)}.")
    console.print(f"fitted to {len(learned_from)} trials, judged by {len(judged_by)} windows")
    return command.Findings(rows, notes, details)


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


def judge(
    quantity: Quantity,
    surrogates: Any,
    training: Sequence[Trial],
    held_out: dict[str, Trial],
    space: ConfigurationSpace,
) -> list[HeldOut]:
    """Every held-out configuration with its forecasts."""
    windows: dict[str, list[Trial]] = defaultdict(list)
    for key, trial in held_out.items():
        windows[name_of(key)].append(trial)
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
    foretold = np.array([each.estimate.median for each in judged])
    linear = np.array([each.ridge for each in judged])
    mean = np.full(len(judged), fmean(training))
    inside = [each.estimate.low <= value <= each.estimate.high for each in judged for value in each.windows]
    coverage = fmean(inside)
    return [
        at_least(f"{name}: R2 on held-out configurations", r_squared(measured, foretold), least_r2),
        at_most(f"{name}: mean absolute error", mape(measured, foretold), most_error),
        Row(f"{name}: windows inside their 95 % interval", coverage, "", "0.93 to 0.98", 0.93 <= coverage <= 0.98),
        shown(f"{name}: R2 of a perfect model, by the windows' noise", ceiling(judged)),
        shown(f"{name}: R2 of ridge regression", r_squared(measured, linear)),
        shown(f"{name}: error of ridge regression", mape(measured, linear)),
        shown(f"{name}: R2 of the training's mean", r_squared(measured, mean)),
        shown(f"{name}: least measured", float(measured.min()), UNITS[quantity]),
        shown(f"{name}: most measured", float(measured.max()), UNITS[quantity]),
    ]


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
    return command.run("surrogate_h200", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
