"""Whether surrogates are to be trusted: what leave-one-out by whole configurations says, and against what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconfigure_policies.surrogate.fitted import FittedSurrogates
from reconfigure_policies.surrogate.gaussian_process import Array
from reconfigure_policies.surrogate.interface import Quality, QuantityQuality
from reconfigure_policies.surrogate.quantity_model import NORMAL_95, QuantityModel
from reconfigure_policies.surrogate.trials import Quantity

#: With fewer different configurations than this no error estimate means anything.
FEWEST_CONFIGURATIONS = 8

#: Penalty of the ridge regression, on standardised targets and features of about unit range.
RIDGE = 0.1

#: By how much the R2 of a straight line has to be higher to be no chance.
WORSE_THAN_LINEAR = 0.05

#: Intervals that hold fewer than this share of what was left out are not to be trusted.
LEAST_COVERAGE = 0.85

#: What is only asked whether it stays below a limit, by the upper end of its interval: that has to hold, and where no
#: law explains how a latency varies (of an engine that is never full, that is noise), the interval is as wide as that.
_LATENCIES = frozenset({Quantity.TTFT, Quantity.TPOT})


def assess(surrogates: FittedSurrogates) -> Quality:
    """See `reconfigure_policies.surrogate.quality`."""
    found = {quantity: assess_quantity(model) for quantity, model in surrogates.models.items()}
    return Quality(found, tuple(fault for quantity, each in found.items() for fault in _faults(quantity, each)))


def assess_quantity(model: QuantityModel) -> QuantityQuality:
    """Grouped leave-one-out of one quantity, with baselines and ceiling; hyperparameters are those of all trials."""
    logarithms = model.shift + model.scale * model.data.targets
    values, groups = np.exp(logarithms), model.groups
    configurations = len(np.unique(groups))
    mean, sd = model.left_out()
    standardised = np.abs(logarithms - mean) / sd
    enough = configurations >= 3
    line = _without_own_group(logarithms, groups, model) if enough else mean
    weights = weights_of_trials(groups, model.scale**2 * model.data.variances + model.noise_variance)
    return QuantityQuality(
        trials=len(values),
        configurations=configurations,
        r2=r_squared(values, np.exp(mean)) if enough else None,
        mape=float(np.abs(np.exp(mean) / values - 1).mean()) if enough else None,
        coverage=float((standardised <= NORMAL_95 * model.interval_scale).mean()) if enough else None,
        raw_coverage=float((standardised <= NORMAL_95).mean()) if enough else None,
        ceiling_r2=noise_ceiling(values, groups) if enough else None,
        linear_r2=r_squared(values, np.exp(line)) if enough else None,
        weighted_r2=r_squared(logarithms, mean, weights) if enough else None,
        weighted_linear_r2=r_squared(logarithms, line, weights) if enough else None,
        noise_relative_sd=float(np.sqrt(model.noise_variance)),
        interval_scale=model.interval_scale,
    )


def r_squared(values: Array, predictions: Array, weights: Array | None = None) -> float | None:
    """Share of the variance that is explained, alike of all trials without weights; None where there is none."""
    weights = np.ones_like(values) if weights is None else weights
    total = float(weights @ (values - np.average(values, weights=weights)) ** 2)
    return 1 - float(weights @ (values - predictions) ** 2) / total if total > 0 else None


def weights_of_trials(groups: NDArray[np.int_], variances: Array) -> Array:
    """A configuration weighs the same however often it was tried, and a trial the less the more it may be off.

    Args:
        groups: labels of configurations, by trial.
        variances: of what was measured, by trial.
    """
    _, members, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights: Array = 1.0 / (counts[members] * variances)
    return weights


def noise_ceiling(values: Array, groups: NDArray[np.int_]) -> float | None:
    """R2 of a model that knows every configuration's true mean, from repeated trials; None without any.

    The variance within configurations is pooled over those that were repeated and taken to hold for all.
    """
    repeated = [values[groups == label] for label in np.unique(groups) if (groups == label).sum() > 1]
    if not repeated:
        return None
    freedom = sum(len(each) - 1 for each in repeated)
    relative = sum(float(((each / each.mean() - 1) ** 2).sum()) for each in repeated) / freedom
    total = float(values.var())
    return 1 - relative * float((values**2).mean()) / total if total > 0 else None


def _without_own_group(logarithms: Array, groups: NDArray[np.int_], model: QuantityModel) -> Array:
    """Ridge regression of the logarithm on inputs and features, each group predicted by the others."""
    columns = np.hstack([model.data.inputs, model.data.features[:, 1:]])
    predictions = np.empty_like(logarithms)
    for label in np.unique(groups):
        own = groups == label
        predictions[own] = ridge(columns[~own], logarithms[~own], columns[own])
    return predictions


def ridge(columns: Array, targets: Array, at: Array) -> Array:
    """Ridge regression with an unpenalised level."""
    middle, level = columns.mean(axis=0), targets.mean()
    centred = columns - middle
    weights = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(columns.shape[1]), centred.T @ (targets - level))
    predictions: Array = level + (at - middle) @ weights
    return predictions


def _faults(quantity: Quantity, found: QuantityQuality) -> list[str]:
    """Reasons not to trust one quantity's surrogate, each a sentence."""
    if found.configurations < FEWEST_CONFIGURATIONS:
        return [
            f"{quantity} was measured under {found.configurations} different configurations; "
            f"{FEWEST_CONFIGURATIONS} are needed before its error can be told"
        ]
    faults = [] if quantity in _LATENCIES else _not_explained(quantity, found)
    if found.coverage is not None and found.coverage < LEAST_COVERAGE:
        faults.append(
            f"the 95 % intervals of {quantity} hold {100 * found.coverage:.0f} % of what was left out of the fit"
        )
    return faults


def _not_explained(quantity: Quantity, found: QuantityQuality) -> list[str]:
    """By what decisions compare: ratios, between configurations, as far as they were measured well."""
    ours, line = found.weighted_r2, found.weighted_linear_r2
    if ours is None or line is None:
        return []
    if ours <= 0:
        return [f"{quantity} is predicted no better than by its mean (weighted R2 {ours:.2f} of its logarithm)"]
    if ours < line - WORSE_THAN_LINEAR:
        return [
            f"{quantity} is predicted worse than by a straight line (weighted R2 {ours:.2f} of its logarithm, "
            f"against {line:.2f})"
        ]
    return []
