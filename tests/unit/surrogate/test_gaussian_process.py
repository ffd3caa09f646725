"""The Gaussian process is GPyTorch's, only faster."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.surrogate.gaussian_process import (
    Data,
    GaussianProcess,
    Hyperparameters,
    Priors,
    fit_hyperparameters,
    log_posterior,
)

SEEDS = st.integers(0, 10_000)


def random_data(seed: int, count: int = 12, inputs: int = 3) -> Data:
    generator = np.random.default_rng(seed)
    features = np.hstack([np.full((count, 1), 2.0), generator.uniform(size=(count, 2))])
    return Data(
        generator.uniform(size=(count, inputs)), features, generator.standard_normal(count),
        generator.uniform(0.0, 0.1, count),
    )  # fmt: skip


def reference(data: Data, hyper: Hyperparameters):
    """The same model of GPyTorch: its prior covariance, likelihood and kernel."""
    gpytorch = pytest.importorskip("gpytorch", reason="GPyTorch is the reference; `make test` installs it")
    import torch

    inputs, features = torch.tensor(data.inputs), torch.tensor(data.features)
    nonlinear = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=inputs.shape[1])).double()
    linear = gpytorch.kernels.LinearKernel().double()
    nonlinear.outputscale = hyper.signal_variance
    nonlinear.base_kernel.lengthscale = torch.tensor(hyper.lengthscales)
    linear.variance = hyper.linear_variance
    covariance = nonlinear(inputs).to_dense() + linear(features).to_dense()
    noise = torch.diag(torch.tensor(data.variances) + hyper.noise_variance)
    normal = gpytorch.distributions.MultivariateNormal(torch.zeros(len(data), dtype=torch.double), covariance + noise)
    return nonlinear, linear, normal.log_prob(torch.tensor(data.targets)).item()


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_likelihood_is_gpytorchs(seed: int):
    """Up to the constant and the priors, which are written down here a second time."""
    data, priors = random_data(seed), Priors()
    logarithms = np.random.default_rng(seed).normal(0, 0.5, 6)
    means, sds = priors.of(3)
    value, _ = log_posterior(data, logarithms, priors)
    expected = reference(data, Hyperparameters(logarithms))[2] + 0.5 * len(data) * np.log(2 * np.pi)
    assert value == pytest.approx(expected - 0.5 * (((logarithms - means) / sds) ** 2).sum(), abs=1e-6)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_gradient_is_that_of_the_likelihood(seed: int):
    """It agrees with differences in every direction."""
    data, priors, logarithms = random_data(seed), Priors(), np.random.default_rng(seed).normal(0, 0.5, 6)
    _, gradient = log_posterior(data, logarithms, priors)
    for index in range(len(logarithms)):
        step = np.zeros(6)
        step[index] = 1e-5
        above, below = (log_posterior(data, logarithms + sign * step, priors)[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((above - below) / 2e-5, abs=1e-4)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_posterior_is_gpytorchs(seed: int):
    """Mean and variance at new points follow from GPyTorch's covariances."""
    import torch

    data, at = random_data(seed), random_data(seed + 1, count=5)
    hyper = Hyperparameters(np.random.default_rng(seed).normal(0, 0.5, 6))
    nonlinear, linear, _ = reference(data, hyper)
    everything = torch.tensor(np.vstack([data.inputs, at.inputs]))
    laws = torch.tensor(np.vstack([data.features, at.features]))
    with torch.no_grad():
        covariance = (nonlinear(everything).to_dense() + linear(laws).to_dense()).numpy()
    count = len(data)
    known = covariance[:count, :count] + np.diag(data.variances + hyper.noise_variance)
    weights = np.linalg.solve(known, covariance[:count, count:])
    mean, variance = GaussianProcess(data, hyper).posterior(at.inputs, at.features)
    assert mean == pytest.approx(weights.T @ data.targets, abs=1e-6)
    assert variance == pytest.approx(
        np.diag(covariance[count:, count:] - weights.T @ covariance[:count, count:]), abs=1e-6
    )


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_leaving_a_group_out_is_not_having_seen_it(seed: int):
    """The closed form gives what a process without the group predicts."""
    data, hyper = random_data(seed), Hyperparameters(np.random.default_rng(seed).normal(0, 0.5, 6))
    groups = np.random.default_rng(seed).integers(0, 4, len(data))
    means, variances = GaussianProcess(data, hyper).left_out(groups)
    for label in np.unique(groups):
        own, others = groups == label, groups != label
        rest = Data(data.inputs[others], data.features[others], data.targets[others], data.variances[others])
        mean, variance = GaussianProcess(rest, hyper).posterior(data.inputs[own], data.features[own])
        assert means[own] == pytest.approx(mean, abs=1e-7)
        assert variances[own] == pytest.approx(variance + data.variances[own] + hyper.noise_variance, abs=1e-7)


def test_a_fit_climbs():
    """The fitted hyperparameters are more probable than those it began with."""
    data, priors = random_data(3, count=20), Priors()
    fitted = fit_hyperparameters(data, priors, 50)
    assert log_posterior(data, fitted.logarithms, priors)[0] > log_posterior(data, priors.of(3)[0], priors)[0] + 0.1
