"""Which configurations will boot and serve, learned from those that did and those that failed.

A Gaussian process behind a logistic function, Laplace-approximated (Rasmussen and Williams 2006, 3.4), with fixed
hyperparameters: failures are few and their boundary is a law of resources, so lengthscales cannot be learned from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from reconfigure_policies.surrogate.gaussian_process import Array

#: Log odds far from every trial: a configuration that the space allows mostly works.
PRIOR_LOG_ODDS = 2.0

#: Variance of the nonlinear part and of each feature's weight, on the scale of log odds.
SIGNAL_VARIANCE, LINEAR_VARIANCE = 9.0, 1.0

#: Reach of a label, as a share of the diagonal of the unit cube.
REACH = 0.35

NEWTON_STEPS = 20


@dataclass(frozen=True)
class FeasibilityModel:
    """A fitted classifier; without a failure among its labels every configuration is feasible.

    Attributes:
        inputs, features: `n x d` and `n x p` of the labelled trials.
        slack: `n`, gradient of the log likelihood at the mode.
        root_weights: `n`, square roots of its curvature.
        factor: Cholesky factor of `1 + sqrt(W) K sqrt(W)`.
    """

    inputs: Array
    features: Array
    slack: Array
    root_weights: Array
    factor: Array

    def probability(self, inputs: Array, features: Array) -> Array:
        """Probability of being feasible at `m` points."""
        across = _covariance(self.inputs, self.features, inputs, features)
        mean = PRIOR_LOG_ODDS + across.T @ self.slack
        reduced = solve_triangular(self.factor, self.root_weights[:, None] * across, lower=True)
        prior = SIGNAL_VARIANCE + LINEAR_VARIANCE * (features**2).sum(axis=1)
        variance = np.maximum(prior - (reduced**2).sum(axis=0), 0.0)
        return _logistic(mean / np.sqrt(1 + np.pi * variance / 8))  # MacKay's approximation of the average


def fit_feasibility(inputs: Array, features: Array, feasible: Array) -> FeasibilityModel | None:
    """Newton's method for the mode of the latent log odds; None if every label says feasible.

    Args:
        inputs: `n x d`.
        features: `n x p`.
        feasible: `n`, 1 or 0.
    """
    if feasible.min(initial=1.0) > 0.5:
        return None
    covariance, latent = _covariance(inputs, features, inputs, features), np.full(len(feasible), PRIOR_LOG_ODDS)
    for _ in range(NEWTON_STEPS):
        root, factor, probability = _curvature(covariance, latent)
        target = root**2 * (latent - PRIOR_LOG_ODDS) + feasible - probability
        solved = target - root * cho_solve((factor, True), root * (covariance @ target))
        latent, before = PRIOR_LOG_ODDS + covariance @ solved, latent
        if np.abs(latent - before).max() < 1e-6:
            break
    root, factor, probability = _curvature(covariance, latent)
    return FeasibilityModel(inputs, features, feasible - probability, root, factor)


def _curvature(covariance: Array, latent: Array) -> tuple[Array, Array, Array]:
    probability = _logistic(latent)
    root = np.sqrt(probability * (1 - probability))
    return root, cholesky(np.eye(len(latent)) + np.outer(root, root) * covariance, lower=True), probability


def _covariance(inputs: Array, features: Array, others: Array, other_features: Array) -> Array:
    reach = REACH * np.sqrt(max(inputs.shape[1], 1))
    squares = ((inputs[:, None, :] - others[None, :, :]) ** 2).sum(axis=2) / reach**2
    nonlinear: Array = SIGNAL_VARIANCE * np.exp(-0.5 * squares)
    return nonlinear + LINEAR_VARIANCE * features @ other_features.T


def _logistic(values: Array) -> Array:
    result: Array = 1.0 / (1.0 + np.exp(-np.clip(values, -40, 40)))
    return result
