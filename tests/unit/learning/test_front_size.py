"""How far a front reaches, seen over time."""

from __future__ import annotations

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.learning.front_size import FrontSize, front_size
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.surrogate import Measured, Quantity, Trial
from tests.known_surrogates import known_methods
from tests.unit.learning.test_learning import CONTEXT, Memory, learning, trial


def forecast(energy_j, throughput_tps):
    exactly = [Estimate(value, value, value) for value in (energy_j, throughput_tps)]
    return Forecast(Configuration({"max_num_seqs": throughput_tps}), WorkloadContext(1.0, 10.0, 10.0), *exactly)


def measured(energy_j, throughput_tps):
    values = {Quantity.ENERGY: Measured(energy_j), Quantity.THROUGHPUT: Measured(throughput_tps)}
    return Trial(Configuration(), WorkloadContext(1.0, 10.0, 10.0), 0.0, values)


def test_the_volume_lies_between_the_front_and_the_worst_that_was_measured():
    """Two steps of a staircase over (100 tokens/s, 3 J), and a dominated forecast that adds nothing."""
    trials = [measured(3.0, 200), measured(2.0, 100)]
    forecasts = [forecast(2.0, 300), forecast(1.0, 200), forecast(2.5, 150)]
    assert front_size(forecasts, trials) == FrontSize(2, pytest.approx(200 * 1.0 + 100 * 1.0))


def test_a_better_configuration_makes_it_larger_and_a_worse_one_does_not():
    """So that a graph of it rises with what is found."""
    trials = [measured(3.0, 100)]
    before = front_size([forecast(2.0, 300)], trials)
    assert front_size([forecast(2.0, 300), forecast(2.9, 110)], trials) == before
    assert front_size([forecast(2.0, 300), forecast(1.5, 290)], trials).hypervolume > before.hypervolume


def test_without_a_measurement_of_each_objective_nothing_is_claimed():
    """Energy alone spans no area."""
    only_energy = Trial(Configuration(), WorkloadContext(1.0, 10.0, 10.0), 0.0, {Quantity.ENERGY: Measured(3.0)})
    assert front_size([forecast(2.0, 300)], [only_energy]) is None
    assert front_size([], [measured(3.0, 100)]) is None


def test_the_front_is_shown_once_forecasts_were_made():
    """In Prometheus' words."""
    text = []

    async def story():
        learned = learning(Memory([trial(at, cap) for at, cap in enumerate((16, 32, 64))]), known_methods()[0])
        assert await learned.expectations(CONTEXT)
        text.extend(learned._metrics.render().decode().splitlines())

    in_virtual_time(story())
    values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text if line[0] != "#")}
    assert values["reconfigure_pareto_front_configurations"] > 1
    assert values["reconfigure_pareto_hypervolume"] > 0
