"""Exact Gaussian-process regression with a Bayesian linear part, for some hundred points; numpy and scipy only.

    y = linear part + nonlinear part + noise
    cov(y) = b^2 F F' + s^2 exp(-|x - x'|^2 / 2 l^2) + diag(v + n^2)

`x` are inputs with one lengthscale `l` each, `F` are features with a constant among them, `v` is the known variance of
each observation and `n^2` what is inferred on top. The lengthscales' prior grows with the number of inputs, so that
ten observations in ten dimensions do not end as noise (Hvarfner et al. 2024, Vanilla Bayesian Optimization Performs
Great in High Dimensions); it is BoTorch's default. Tests hold likelihood, gradient and posterior against GPyTorch's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Priors:
    """Log-normal priors, as `(mean, standard deviation)` of the logarithm; targets have a spread of about 1.

    Attributes:
        lengthscale: before the growth by the square root of the number of inputs.
        signal_variance: of the nonlinear part.
        noise_variance: beyond what is known of each observation.
        linear_variance: of each feature's weight.
    """

    lengthscale: tuple[float, float] = (math.sqrt(2.0), math.sqrt(3.0))
    signal_variance: tuple[float, float] = (-1.0, 1.0)
    noise_variance: tuple[float, float] = (-4.0, 1.0)
    linear_variance: tuple[float, float] = (-1.0, 1.0)

    def of(self, inputs: int) -> tuple[Array, Array]:
        """Means and standard deviations in the order of `Hyperparameters.logarithms`."""
        mean, sd = self.lengthscale
        others = (self.signal_variance, self.noise_variance, self.linear_variance)
        means = [mean + 0.5 * math.log(max(inputs, 1))] * inputs + [each[0] for each in others]
        return np.array(means), np.array([sd] * inputs + [each[1] for each in others])


@dataclass(frozen=True)
class Hyperparameters:
    """Natural logarithms of `d` lengthscales and of the signal's, the noise's and the linear weights' variance."""

    logarithms: Array

    @property
    def lengthscales(self) -> Array:
        """`d`, in units of the inputs."""
        return cast("Array", np.exp(self.logarithms[:-3]))

    @property
    def signal_variance(self) -> float:
        """Of the nonlinear part."""
        return math.exp(self.logarithms[-3])

    @property
    def noise_variance(self) -> float:
        """Between observations, beyond the known variance of each."""
        return math.exp(self.logarithms[-2])

    @property
    def linear_variance(self) -> float:
        """Of each feature's weight."""
        return math.exp(self.logarithms[-1])


@dataclass(frozen=True)
class Data:
    """What is learned from.

    Attributes:
        inputs: `n x d`.
        features: `n x p`.
        targets: `n`.
        variances: `n`, the known variance of each target.
    """

    inputs: Array
    features: Array
    targets: Array
    variances: Array

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def squared_distances(self) -> Array:
        """`d x n x n`, one square for each input."""
        return (self.inputs.T[:, :, None] - self.inputs.T[:, None, :]) ** 2

    @cached_property
    def feature_products(self) -> Array:
        """`n x n`."""
        return self.features @ self.features.T


def log_posterior(data: Data, logarithms: Array, priors: Priors) -> tuple[float, Array]:
    """Log marginal likelihood plus log prior density of the logarithms, without constants, and its gradient.

    Raises:
        LinAlgError: if the covariance is not positive definite in floating point.
    """
    hyper = Hyperparameters(logarithms)
    precision = 1.0 / hyper.lengthscales**2
    nonlinear = hyper.signal_variance * np.exp(-0.5 * np.tensordot(precision, data.squared_distances, axes=1))
    linear = hyper.linear_variance * data.feature_products
    covariance = nonlinear + linear
    covariance[np.diag_indices_from(covariance)] += data.variances + hyper.noise_variance
    factor = cholesky(covariance, lower=True, check_finite=False)
    weights = cho_solve((factor, True), data.targets, check_finite=False)
    inverse = cho_solve((factor, True), np.eye(len(data)), check_finite=False)
    slack = np.outer(weights, weights) - inverse
    slack_nonlinear = slack * nonlinear
    gradient = 0.5 * np.concatenate(
        [
            np.tensordot(data.squared_distances, slack_nonlinear, axes=2) * precision,
            [slack_nonlinear.sum(), hyper.noise_variance * np.trace(slack), float((slack * linear).sum())],
        ]
    )
    value = -0.5 * float(data.targets @ weights) - float(np.log(np.diag(factor)).sum())
    means, sds = priors.of(len(precision))
    standard = (logarithms - means) / sds
    return value - 0.5 * float(standard @ standard), gradient - standard / sds


def fit_hyperparameters(
    data: Data, priors: Priors, max_iterations: int, start: Hyperparameters | None = None
) -> Hyperparameters:
    """The most probable hyperparameters (L-BFGS); from the priors' means, or from where an earlier fit ended.

    Raises:
        LinAlgError: if no step gave a covariance that is positive definite.
    """
    means, sds = priors.of(data.inputs.shape[1])
    begin = means if start is None else start.logarithms

    def loss(logarithms: Array) -> tuple[float, Array]:
        value, gradient = log_posterior(data, logarithms, priors)
        return -value, -gradient

    bounds = list(zip(means - 4 * sds, means + 4 * sds, strict=True))
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": max_iterations})
    if not np.isfinite(found.fun):
        raise LinAlgError("the likelihood is not finite")
    return Hyperparameters(found.x)


class GaussianProcess:
    """Data with hyperparameters, factorised once; immutable.

    Raises:
        LinAlgError: if the covariance is not positive definite in floating point.
    """

    def __init__(self, data: Data, hyperparameters: Hyperparameters) -> None:
        self.data, self.hyperparameters = data, hyperparameters
        covariance = self._covariance(data.inputs, data.features, data.inputs, data.features)
        covariance[np.diag_indices_from(covariance)] += data.variances + hyperparameters.noise_variance
        self._factor = cholesky(covariance, lower=True)
        self._weights = cho_solve((self._factor, True), data.targets)

    def posterior(self, inputs: Array, features: Array) -> tuple[Array, Array]:
        """Mean and variance of the noise-free function at `m` points, each `m`."""
        across = self._covariance(self.data.inputs, self.data.features, inputs, features)
        reduced = solve_triangular(self._factor, across, lower=True, check_finite=False)
        prior = self.hyperparameters.signal_variance + self.hyperparameters.linear_variance * (features**2).sum(axis=1)
        return across.T @ self._weights, np.maximum(prior - (reduced**2).sum(axis=0), 1e-12)

    def update(self, residuals: Array, inputs: Array, features: Array) -> Array:
        """What residuals at the data say about `m` points: `k(x, X) (K + V)^-1 r`.

        Args:
            residuals: `s x n`, one row for each draw.
            inputs: `m x d`.
            features: `m x p`.

        Returns:
            `s x m`.
        """
        across = self._covariance(self.data.inputs, self.data.features, inputs, features)
        return cast("Array", cho_solve((self._factor, True), residuals.T).T @ across)

    def left_out(self, groups: NDArray[np.int_]) -> tuple[Array, Array]:
        """Mean and variance of each noisy target, predicted without its group, hyperparameters kept; both `n`.

        Args:
            groups: `n` labels; targets of one label are left out together.

        Source:
            Rasmussen and Williams 2006, 5.4.2, in blocks.
        """
        inverse = cho_solve((self._factor, True), np.eye(len(self.data)))
        means, variances = np.empty(len(self.data)), np.empty(len(self.data))
        for group in np.unique(groups):
            members = np.flatnonzero(groups == group)
            block = np.linalg.inv(inverse[np.ix_(members, members)])
            means[members] = self.data.targets[members] - block @ self._weights[members]
            variances[members] = np.diag(block)
        return means, variances

    def _covariance(self, inputs: Array, features: Array, others: Array, other_features: Array) -> Array:
        scale = self.hyperparameters.lengthscales
        one, other = inputs / scale, others / scale
        squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * one @ other.T
        nonlinear = self.hyperparameters.signal_variance * np.exp(-0.5 * np.maximum(squares, 0))
        return cast("Array", nonlinear + self.hyperparameters.linear_variance * features @ other_features.T)
