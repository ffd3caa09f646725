"""A table of every configuration of the study's space with what it would measure, for trying optimisers on.

The table is fitted to the trials of both arms by BoTorch's default Gaussian process as it comes, on plain inputs
without scale or law: the model of Ax, and not the one that is tried on it. Which arm a trial belongs to is an input,
since the two were measured weeks apart; the table holds for the discrete one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.harness.seed_trials import CANONICAL, CONTEXT, SPACE, enumeration, is_allowed, seed_trials
from benchmarks.harness.two_arms import ARMS
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.surrogate import OBJECTIVES, Measured, Quantity, Trial, hypervolume

#: The study's reference point: tokens per second and joules per token.
REFERENCE = (200.0, 2.0)

#: Relative spread of one measurement: the study's own metrics, and requests per second with generation-only joules.
STUDY_NOISE, BETTER_NOISE = (0.011, 0.053), (0.004, 0.019)

Point = tuple[float, float]


@dataclass(frozen=True)
class Table:
    """True values of every feasible configuration, and noisy looks at them.

    Attributes:
        truth: by effective configuration, tokens per second and joules per token.
        noise: relative spread of a look, by objective.
    """

    truth: Mapping[Configuration, Point]
    noise: Point

    @cached_property
    def best(self) -> float:
        """Hypervolume of the exhaustive front."""
        return hypervolume(self.truth.values(), REFERENCE, OBJECTIVES)

    def look(self, configuration: Configuration, seed: int, at: int) -> Trial:
        """One noisy measurement; the same seed sees the same noise at the same configuration and moment."""
        if not is_allowed(configuration):
            return Trial(configuration, CONTEXT, float(at), feasible=False, reason="more GPUs than there are")
        drawn = np.random.default_rng([seed, at, _number(configuration)])
        values = [
            value * math.exp(spread * drawn.standard_normal())
            for value, spread in zip(self.truth[CANONICAL(configuration)], self.noise, strict=True)
        ]
        return Trial(configuration, CONTEXT, float(at), dict(zip(OBJECTIVES, map(Measured, values), strict=True)))

    def shares(self, configurations: Sequence[Configuration]) -> list[float]:
        """Share of the exhaustive hypervolume after each trial, by true values."""
        known = [self.truth[CANONICAL(each)] if is_allowed(each) else REFERENCE for each in configurations]
        return [hypervolume(known[: count + 1], REFERENCE, OBJECTIVES) / self.best for count in range(len(known))]


def kept_table(folder: Path) -> Table:
    """The table from a folder, or fitted and kept there; fitting takes a minute."""
    kept = folder / "table.json"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([[dict(each), point] for each, point in fit_table().items()]), encoding="utf-8")
    listed = json.loads(kept.read_text(encoding="utf-8"))
    return Table({Configuration(each): (point[0], point[1]) for each, point in listed}, STUDY_NOISE)


def fit_table() -> dict[Configuration, Point]:
    """True values of every configuration that is allowed; the same trials give the same table."""
    allowed = list({CANONICAL(each): each for each in enumeration() if is_allowed(each)})
    trials = [(trial, float(arm == ARMS[0])) for arm in ARMS for trial in seed_trials(arm) if trial.measured]
    inputs = np.array([[*_numbers(CANONICAL(trial.configuration)), arm] for trial, arm in trials])
    at = np.array([[*_numbers(each), 1.0] for each in allowed])
    columns = [_fitted(inputs, [trial.measured[q].value for trial, _ in trials], at) for q in OBJECTIVES]
    return dict(zip(allowed, zip(*columns, strict=True), strict=True))


def _fitted(inputs: np.ndarray, values: Sequence[float], at: np.ndarray) -> list[float]:
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Normalize, Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    size = inputs.shape[1]
    model = SingleTaskGP(
        torch.tensor(inputs),
        torch.tensor(np.log(values))[:, None],
        input_transform=Normalize(size),
        outcome_transform=Standardize(1),
    )
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    with torch.no_grad():
        found: list[float] = model.posterior(torch.tensor(at)).mean.exp()[:, 0].tolist()
    return found


def _numbers(effective: Configuration) -> list[float]:
    return [float(value == "float16") if isinstance(value, str) else float(value) for value in effective.values()]


def _number(configuration: Configuration) -> int:
    """The configuration's place in the enumeration of the space."""
    place = 0
    for knob in SPACE.knobs:
        place = place * len(knob.values) + knob.values.index(configuration[knob.name])
    return place


#: Objectives with their direction, as other libraries are told.
DIRECTIONS = tuple("maximize" if quantity.is_maximised else "minimize" for quantity in OBJECTIVES)


def values_of(trial: Trial) -> Point:
    """A trial's objectives."""
    return trial.measured[Quantity.THROUGHPUT].value, trial.measured[Quantity.ENERGY].value
