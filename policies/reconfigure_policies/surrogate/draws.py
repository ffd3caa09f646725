"""Whole functions drawn from a Gaussian process, at thousands of points at once.

A draw from the prior, by random Fourier features for the nonlinear part and exact weights for the linear one, is moved
by what the data say against it: f(x) = g(x) + k(x, X) (K + V)^-1 (y - g(X) - e). No covariance between candidates is
ever built, so cost grows linearly with their number (Wilson et al. 2020, Efficiently Sampling Functions from Gaussian
Process Posteriors).
"""

from __future__ import annotations

import math

import numpy as np

from reconfigure_policies.surrogate.gaussian_process import Array, GaussianProcess
from reconfigure_policies.surrogate.quantity_model import QuantityModel

#: Fourier features; the error of the drawn prior falls with its root, and the data's part of a draw is exact.
FOURIER_FEATURES = 256


def draw_values(
    model: QuantityModel, inputs: Array, features: Array, count: int, generator: np.random.Generator
) -> Array:
    """Noise-free values in the quantity's unit, `count x m`; each member of the mixture draws by its weight."""
    shares = np.diff(np.round(count * np.concatenate([[0.0], np.cumsum(model.weights)]))).astype(int)
    drawn = [
        draw_functions(member, inputs, features, int(share), generator)
        for member, share in zip(model.members, shares, strict=True)
        if share
    ]
    order = generator.permutation(count)  # so that no quantity's members are drawn together with another's
    values: Array = np.exp(model.shift + model.scale * np.vstack(drawn)[order])
    return values


def draw_functions(
    process: GaussianProcess, inputs: Array, features: Array, count: int, generator: np.random.Generator
) -> Array:
    """Draws of the noise-free standardised function, `count x m`."""
    hyper, data = process.hyperparameters, process.data
    frequencies = generator.standard_normal((inputs.shape[1], FOURIER_FEATURES)) / hyper.lengthscales[:, None]
    phases = generator.uniform(0, 2 * math.pi, FOURIER_FEATURES)
    amplitude = math.sqrt(2 * hyper.signal_variance / FOURIER_FEATURES)
    waves = amplitude * generator.standard_normal((count, FOURIER_FEATURES))
    slopes = math.sqrt(hyper.linear_variance) * generator.standard_normal((count, features.shape[1]))

    def prior(at: Array, laws: Array) -> Array:
        drawn: Array = waves @ np.cos(at @ frequencies + phases).T + slopes @ laws.T
        return drawn

    noise = np.sqrt(data.variances + hyper.noise_variance) * generator.standard_normal((count, len(data)))
    surprise = data.targets - prior(data.inputs, data.features) - noise
    return prior(inputs, features) + process.update(surprise, inputs, features)
