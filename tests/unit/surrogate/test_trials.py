"""Trials are made of settled windows and failed boots, each value with its own spread."""

import math
from dataclasses import replace

import numpy as np
import pytest

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.history import Observation
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow
from reconfigure_policies.surrogate import Quantity, trial_from_observation
from reconfigure_policies.surrogate.trials import tail_relative_sd


def observation(waiting: float, energy_j: float | None) -> Observation:
    window = WorkloadWindow(
        started_s=0.0, duration_s=60.0, arrivals=120, finished=100, slo_met=100, prompt_tokens=20_000,
        cached_prompt_tokens=5_000, output_tokens=10_000, preemptions=0, mean_running=8.0, mean_waiting=waiting,
        ttft_s=Percentiles(0.1, 0.2, 0.4), tpot_s=Percentiles(0.02, 0.03, 0.05), energy_j=energy_j,
        energy_source="measured",
    )  # fmt: skip
    return Observation(7.0, "host", "vllm", "0.24", "model", Configuration({"max_num_seqs": 8}), window)


def test_a_window_tells_its_workload_and_its_quantities():
    """Means per finished request, the share of cached tokens, joules per token and both tails."""
    trial = trial_from_observation(observation(waiting=0.0, energy_j=5_000.0))
    assert (trial.context.arrival_rate_rps, trial.context.prompt_tokens, trial.context.output_tokens) == (2, 200, 100)
    assert trial.context.prefix_hit_share == 0.25
    assert {quantity: each.value for quantity, each in trial.measured.items()} == {
        Quantity.ENERGY: 0.5, Quantity.TTFT: 0.4, Quantity.TPOT: 0.05,
    }  # fmt: skip
    assert trial.measured[Quantity.ENERGY].relative_sd == pytest.approx(math.sqrt(16 / 12) / 100)


def test_capacity_is_read_from_saturated_windows_only():
    """A window in which requests waited tells tokens per second, one with spare capacity does not."""
    assert Quantity.THROUGHPUT not in trial_from_observation(observation(0.0, None)).measured
    saturated = trial_from_observation(observation(2.0, None)).measured
    assert saturated[Quantity.THROUGHPUT].value == pytest.approx(10_000 / 60)
    assert Quantity.ENERGY not in saturated


@pytest.mark.parametrize(("arrivals", "steady"), [(100, True), (145, True), (150, False), (55, False)])
def test_a_queue_that_builds_up_or_is_worked_off_teaches_nothing_but_capacity(arrivals, steady):
    """What its requests got is owed to another load than the window's; a full core's tokens are its own."""
    full = observation(waiting=50.0, energy_j=5_000.0)
    trial = trial_from_observation(replace(full, window=replace(full.window, arrivals=arrivals)))
    assert Quantity.THROUGHPUT in trial.measured
    assert (set(trial.measured) == {Quantity.THROUGHPUT}) != steady


def test_a_tails_spread_is_that_of_repeated_windows():
    """For exponential latencies the formula agrees with p99s of many windows."""
    windows = np.random.default_rng(0).exponential(size=(2000, 300))
    p90s, p99s = np.percentile(windows, [90, 99], axis=1)
    spreads = [tail_relative_sd(Percentiles(None, p90, p99), 300) for p90, p99 in zip(p90s, p99s, strict=True)]
    assert np.median(spreads) == pytest.approx(p99s.std() / p99s.mean(), rel=0.15)
