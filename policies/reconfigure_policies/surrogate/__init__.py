"""Surrogates: Gaussian processes over the configuration space that learn from trials, and what follows from them.

    trials = [trial_from_observation(o) for o in observations] + [trial_from_failed_boot(...)]
    surrogates = fit(trials, space)                                # in a worker thread: up to a second
    forecasts = surrogates.forecast(candidates, context)           # milliseconds
    front = pareto_front(forecasts)
    suggestions = suggest(surrogates, candidates, context, slo)    # what to try next

Everything is pure: the same trials, options and seed give the same answers. The functions import numpy and scipy when
they are first called and not before, so that whoever only handles trials stays small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.surrogate.canonical import Canonical
from reconfigure_policies.surrogate.errors import (
    ObjectiveNotMeasured,
    SurrogateCannotBeFitted,
    SurrogatesNotInstalled,
    SurrogateUnavailable,
    TooFewTrials,
    TrialInvalid,
)
from reconfigure_policies.surrogate.interface import (
    CostOfTrial,
    Quality,
    QuantityQuality,
    Suggestion,
    Suggestions,
    Surrogates,
)
from reconfigure_policies.surrogate.options import Drift, FitOptions, SuggestOptions
from reconfigure_policies.surrogate.pareto import OBJECTIVES, estimate_of, hypervolume, pareto_front
from reconfigure_policies.surrogate.trials import (
    Measured,
    Quantity,
    Trial,
    trial_from_failed_boot,
    trial_from_observation,
)

if TYPE_CHECKING:
    from reconfigure_policies.surrogate.fitted import FittedSurrogates

__all__ = [
    "OBJECTIVES",
    "Canonical",
    "CostOfTrial",
    "Drift",
    "FitOptions",
    "Measured",
    "ObjectiveNotMeasured",
    "Quality",
    "Quantity",
    "QuantityQuality",
    "SuggestOptions",
    "Suggestion",
    "Suggestions",
    "SurrogateCannotBeFitted",
    "SurrogateUnavailable",
    "Surrogates",
    "SurrogatesNotInstalled",
    "TooFewTrials",
    "Trial",
    "TrialInvalid",
    "estimate_of",
    "fit",
    "hypervolume",
    "initial_design",
    "pareto_front",
    "quality",
    "suggest",
    "trial_from_failed_boot",
    "trial_from_observation",
]


def fit(
    trials: Sequence[Trial],
    space: ConfigurationSpace,
    options: FitOptions | None = None,
    warm: Surrogates | None = None,
) -> Surrogates:
    """Learn every quantity that the trials measured, and feasibility from those that failed.

    Args:
        trials: in any order; of one model, engine version and machine.
        space: its knobs are the inputs.
        options: see there.
        warm: an earlier fit over the same space, whose hyperparameters are where this one starts.

    Raises:
        TooFewTrials: if no trial measured anything.
        TrialInvalid: if a trial lacks a knob or holds a value that is no positive number, all faults at once.
        SurrogateCannotBeFitted: if the numbers defeat the fit.
        SurrogatesNotInstalled: if numpy or scipy is missing.
    """
    with _installed():
        from reconfigure_policies.surrogate.fitted import fit_trials
    return fit_trials(trials, space, options or FitOptions(), None if warm is None else _fitted(warm))


def quality(surrogates: Surrogates) -> Quality:
    """Leave-one-out errors, coverage, noise ceiling, linear baseline; whether to trust them, and why not."""
    with _installed():
        from reconfigure_policies.surrogate.assessment import assess
    return assess(_fitted(surrogates))


def suggest(
    surrogates: Surrogates,
    candidates: Sequence[Configuration],
    context: WorkloadContext,
    slo: ServiceLevelObjective | None = None,
    batch: int = 1,
    options: SuggestOptions | None = None,
    cost_j_of: CostOfTrial | None = None,
    enforced: Configuration | None = None,
) -> Suggestions:
    """The configurations whose trial should add most to the Pareto front, over the exact enumeration.

    Args:
        surrogates: fitted to all trials so far.
        candidates: every configuration that known constraints allow.
        context: the workload that the front is for.
        slo: its limits on TTFT and TPOT are constraints on the outcome, by the predicted 99th percentiles; None or a
            limit of None constrains nothing.
        batch: how many to choose, greedily, each given the ones before it.
        options: see there.
        cost_j_of: with it, gain per joule is maximised instead of gain: the energy-driven form. Called with
            `enforced` (the first candidate's own configuration if that is None) or the one chosen before.
        enforced: where the engine stands, for `cost_j_of`.

    Raises:
        ObjectiveNotMeasured: if an objective was not measured by any trial.
    """
    with _installed():
        from reconfigure_policies.surrogate.acquisition import suggest_trials
    return suggest_trials(
        _fitted(surrogates),
        candidates,
        context,
        slo or ServiceLevelObjective(),
        batch,
        options or SuggestOptions(),
        cost_j_of,
        enforced,
    )


def initial_design(
    candidates: Sequence[Configuration],
    space: ConfigurationSpace,
    count: int,
    seed: int = 0,
    canonical: Canonical | None = None,
) -> tuple[Configuration, ...]:
    """A scrambled Sobol sequence over the space, each point moved to the nearest candidate that is not taken yet.

    Args:
        candidates: every configuration that known constraints allow.
        space: its knobs span the cube.
        count: at most this many; fewer if candidates run out.
        seed: of the scrambling.
        canonical: of candidates that are the same to the engine one is taken.
    """
    with _installed():
        from reconfigure_policies.surrogate.initial import sobol_design
    return sobol_design(candidates, space, count, seed, canonical or Canonical())


@contextmanager
def _installed() -> Iterator[None]:
    """Say what to install where a library is missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] not in ("numpy", "scipy"):
            raise
        raise SurrogatesNotInstalled(missing.name) from missing


def _fitted(surrogates: Surrogates) -> FittedSurrogates:
    """What `fit` returned; a stand-in for tests has no processes to ask."""
    from reconfigure_policies.surrogate.fitted import FittedSurrogates

    if not isinstance(surrogates, FittedSurrogates):
        raise TypeError(f"found {type(surrogates).__name__}; pass what `fit` returned")
    return surrogates
