"""One quantity's surrogate: two Gaussian processes of its logarithm, averaged, with calibrated intervals.

The likelihood of a few dozen trials has several maxima: a smooth law with much noise, or a rough one with little. Which
is higher is chance, and the one that is chosen is too sure of itself. So one fit starts smooth, one rough, and their
mixture is what is believed, unless one is far more probable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from reconfigure_policies.surrogate.gaussian_process import (
    Array,
    Data,
    GaussianProcess,
    Hyperparameters,
    Priors,
    fit_hyperparameters,
    log_posterior,
)

PRIORS = Priors(noise_variance=(-3.5, 1.0), linear_variance=(0.0, 1.0))

#: Where the rough fit starts: logarithms of the lengthscales and of the signal's, noise's and linear variance.
ROUGH = (-0.5, -1.0, -6.0, 0.0)

#: Fits whose logarithms all differ by less than this have ended at the same maximum.
SAME_MAXIMUM = 0.1

#: Differences of log posterior density between fits are divided by this before they become weights.
SOFTENED = 16.0

#: Spread that a quantity is expected to have over a space, in natural logarithms, worth this many observations.
EXPECTED_SPREAD, EXPECTED_WEIGHT = 0.4, 3.0

#: Half the width of a 95 % interval, in standard deviations.
NORMAL_95 = 1.96

#: Fewer configurations than this say little about the tails of their residuals; Student's t stands in.
GROUPS_FOR_CALIBRATION = 10

#: More than this no calibration multiplies an interval by: then the surrogate is wrong, which `quality` says.
WIDEST = 3.0


@dataclass(frozen=True)
class QuantityModel:
    """A fitted quantity; values are on a logarithmic scale, shifted and scaled to about mean 0 and spread 1.

    Attributes:
        members: the processes whose mixture is believed.
        weights: of the members, 1 together.
        groups: `n` labels; trials of one effective configuration share one.
        shift, scale: logarithm = shift + scale * standardised.
        interval_scale: what calibration multiplies intervals by, at least 1.
    """

    members: tuple[GaussianProcess, ...]
    weights: Array
    groups: NDArray[np.int_]
    shift: float
    scale: float
    interval_scale: float = 1.0

    @property
    def data(self) -> Data:
        """Of all members."""
        return self.members[0].data

    @property
    def noise_variance(self) -> float:
        """Of the logarithm, between trials of one configuration beyond what is known of each; mean of the members."""
        return self.scale**2 * float(self.weights @ [each.hyperparameters.noise_variance for each in self.members])

    def predict(self, inputs: Array, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the logarithm of a measurement at `m` points, not calibrated."""
        found = [each.posterior(inputs, features) for each in self.members]
        noise = [each.hyperparameters.noise_variance for each in self.members]
        noisy = [(mean, variance + n) for (mean, variance), n in zip(found, noise, strict=True)]
        means, variances = mixture(noisy, self.weights)
        return self.shift + self.scale * means, self.scale * np.sqrt(variances)

    def left_out(self) -> tuple[Array, Array]:
        """Mean and standard deviation of each trial's logarithm, predicted without its configuration; both `n`."""
        means, variances = mixture([each.left_out(self.groups) for each in self.members], self.weights)
        return self.shift + self.scale * means, self.scale * np.sqrt(variances)

    def with_data(self, data: Data, groups: NDArray[np.int_]) -> QuantityModel:
        """The same hyperparameters over other data, standardised alike."""
        members = tuple(GaussianProcess(data, each.hyperparameters) for each in self.members)
        return replace(self, members=members, groups=groups)

    def standardised(self, logarithms: Array) -> Array:
        """Targets of the processes."""
        return (logarithms - self.shift) / self.scale


def fit_quantity(
    inputs: Array,
    features: Array,
    logarithms: Array,
    variances: Array,
    groups: NDArray[np.int_],
    max_iterations: int,
    warm: QuantityModel | None = None,
    calibrate: bool = True,
) -> QuantityModel:
    """Fit one quantity.

    Args:
        inputs: `n x d`.
        features: `n x p`.
        logarithms: `n`, of the measured values.
        variances: `n`, known variance of each logarithm.
        groups: `n` labels of effective configurations.
        max_iterations: of each fit.
        warm: an earlier fit; its hyperparameters are where this one starts, if the inputs are as many and it had found
            more than one maximum.
        calibrate: whether to scale intervals by leave-one-out residuals.

    Raises:
        LinAlgError: if the numbers defeat it.
    """
    shift, scale = centre_and_spread(logarithms)
    data = Data(inputs, features, (logarithms - shift) / scale, variances / scale**2)
    fits = [fit_hyperparameters(data, PRIORS, max_iterations, start) for start in _starts(inputs.shape[1], warm)]
    members = tuple(GaussianProcess(data, each) for each in fits)
    model = QuantityModel(members, weights_of(data, fits), groups, shift, scale)
    return replace(model, interval_scale=interval_scale(model)) if calibrate else model


def centre_and_spread(logarithms: Array) -> tuple[float, float]:
    """Mean, and a standard deviation drawn towards the expected one, which stands alone for a single trial."""
    mean = float(logarithms.mean())
    squares = float(((logarithms - mean) ** 2).sum())
    return mean, math.sqrt((EXPECTED_WEIGHT * EXPECTED_SPREAD**2 + squares) / (EXPECTED_WEIGHT + len(logarithms) - 1))


def weights_of(data: Data, fits: list[Hyperparameters]) -> Array:
    """How much each fit is believed: by its posterior density, softened, since a peak's height is not its volume."""
    heights = np.array([log_posterior(data, each.logarithms, PRIORS)[0] for each in fits]) / SOFTENED
    weights: Array = np.exp(heights - heights.max())
    return weights / float(weights.sum())


def mixture(members: list[tuple[Array, Array]], weights: Array) -> tuple[Array, Array]:
    """Mean and variance of a mixture of normal distributions."""
    means, variances = np.array([each[0] for each in members]), np.array([each[1] for each in members])
    mean = weights @ means
    return mean, weights @ (variances + (means - mean) ** 2)


def interval_scale(model: QuantityModel) -> float:
    """How much wider than normal ones intervals must be to hold 95 of 100 configurations that were left out.

    The conformal quantile of standardised residuals, every configuration weighing the same however often it was tried
    (Vovk et al. 2005); with few configurations, Student's t in its place.
    """
    labels, members, counts = np.unique(model.groups, return_inverse=True, return_counts=True)
    if len(labels) < GROUPS_FOR_CALIBRATION:
        return min(float(stdtrit(max(len(labels) - 1, 1), 0.975)) / NORMAL_95, WIDEST)
    mean, sd = model.left_out()
    residuals = np.abs(model.shift + model.scale * model.data.targets - mean) / sd
    order = np.argsort(residuals)
    below = np.cumsum(1.0 / counts[members][order]) / (len(labels) + 1)
    quantile = float(residuals[order][min(int(np.searchsorted(below, 0.95)), len(order) - 1)])
    return min(max(quantile / NORMAL_95, 1.0), WIDEST)


def _starts(inputs: int, warm: QuantityModel | None) -> tuple[Hyperparameters | None, ...]:
    if warm is not None and warm.data.inputs.shape[1] == inputs and _differ(warm):
        return tuple(each.hyperparameters for each in warm.members)
    lengthscale, *others = ROUGH
    return None, Hyperparameters(np.array([lengthscale] * inputs + others))


def _differ(model: QuantityModel) -> bool:
    """Whether its fits ended at different maxima; where a few trials have only one, later ones would never leave it."""
    one, *others = (each.hyperparameters.logarithms for each in model.members)
    return any(float(np.abs(each - one).max()) > SAME_MAXIMUM for each in others)
