"""What is learned in some seconds predicts others: rates, shapes and paces that were not seen."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import inf
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.step_cost import Setting, StepCostModel, Workload, steady_state
from tests.simulation.plant import Plant, poisson

SEEN = ((5, 0.0), (5, 0.01), (5, 0.02), (15, 0.02), (15, 0.0))


@cache
def learned():
    """A model that has seen three minutes of 512 + 128 tokens at two rates and three paces."""
    model = StepCostModel()
    for rate_rps, interval_s in SEEN:
        plant = Plant(poisson(rate_rps, 40, seed=int(rate_rps + interval_s * 1e4)), interval_s)
        for _ in range(40):
            sample = plant.second()
            model = model.learned(sample.duration_s, sample.steps, sample.energy_j)
    return model


def measured(rate_rps, interval_s, prompt, output, minutes=3):
    plant = Plant(poisson(rate_rps, 60 * minutes + 20, prompt, output, seed=9), interval_s)
    plant.second(20)
    plant.records.clear()
    window = plant.second(60 * minutes)
    return window, plant.records


@pytest.mark.parametrize("interval_s", [0.0, 0.015, 0.03, 0.045])
@pytest.mark.parametrize(
    ("rate_rps", "prompt", "output"), [(2, 512, 128), (10, 512, 128), (30, 512, 128), (4, 2000, 30), (10, 200, 400)]
)
def test_unseen_workloads_are_predicted(rate_rps, prompt, output, interval_s):
    """TPOT comes within 5 %, energy within 5 % and TTFT within 15 % of what the engine then does."""
    window, records = measured(rate_rps, interval_s, prompt, output)
    workload = Workload(window.arrivals / window.duration_s, prompt, prompt, output)
    expected = steady_state(learned(), workload, Setting(interval_s, 256, 8192))
    assert expected.tpot_s == pytest.approx(mean(r.tpot_s for r in records), rel=0.05)
    assert expected.ttft_s == pytest.approx(median(r.ttft_s for r in records), rel=0.15)
    assert expected.energy_per_output_token_j == pytest.approx(window.energy_j / window.output_tokens, rel=0.05)


@settings(deadline=None)  # the first example waits for the model to learn
@given(
    st.floats(0.1, 60), st.integers(16, 4000), st.integers(2, 800), st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    st.sampled_from([16, 64, 256]), st.sampled_from([512, 2048, 8192]),
)  # fmt: skip
def test_predictions_make_sense(rate_rps, prompt, output, interval_s, cap, budget):
    """Tails are no shorter than means, a full engine is one whose queue grows, and nothing is negative."""
    workload = Workload(rate_rps, prompt, prompt, output, 2 * prompt)
    state = steady_state(learned(), workload, Setting(interval_s, cap, budget))
    if state.utilisation > 1:
        assert state.tpot_s == state.ttft_tail_s == state.power_w == inf
        return
    assert 0 < state.tpot_s <= state.tpot_tail_s * 1.001
    assert state.ttft_s > 0
    assert state.power_w > 100
    assert 0 <= state.busy <= 1
    assert state.energy_per_output_token_j == pytest.approx(state.power_w / rate_rps / output)


@pytest.mark.parametrize(("prompt", "output"), [(512, 128), (2500, 30), (6000, 150), (200, 400)])
@pytest.mark.parametrize("cap", [32, 256])
@pytest.mark.parametrize("interval_s", [0.0, 0.02, 0.1])
def test_below_a_rate_that_can_be_served_every_rate_can_be(interval_s, cap, prompt, output):
    """The edge between paced and flat out is no gap: whatever holds a rate holds all lower ones."""
    served = [
        steady_state(learned(), Workload(rate_rps, prompt, prompt, output, 3 * prompt), Setting(interval_s, cap, 8192))
        for rate_rps in (0.2 * 1.05**n for n in range(130))
    ]
    able = [state.utilisation <= 1 and state.power_w < inf for state in served]
    assert True in able
    assert False not in able[: len(able) - able[::-1].index(True)]


@settings(deadline=None)  # the first example waits for the model to learn
@given(st.floats(0.5, 30), st.sampled_from([(512, 128), (2000, 30), (100, 500)]))
def test_a_slower_pace_never_takes_more_steps_worth_of_energy(rate_rps, shape):
    """While the engine rests, each longer interval costs no more joules per token, within the model's own rounding.

    An interval so long that requests fill the running cap saves nothing: a full engine does not rest.
    """
    workload = Workload(rate_rps, shape[0], *shape)
    states = [steady_state(learned(), workload, Setting(s, 256, 8192)) for s in (0.01, 0.02, 0.03, 0.045)]
    costs = [state.energy_per_output_token_j for state in states if state.busy < 1]
    assert all(later <= 1.02 * earlier for earlier, later in pairwise(costs))


@pytest.mark.parametrize("interval_s", [0.0, 0.02])
@pytest.mark.parametrize("output", [1.0, 1 + 2e-16, 1 + 1e-15, 1 + 1e-12, 1 + 1e-6])
def test_answers_of_one_token_are_predicted_too(interval_s, output):
    """Next to nobody decodes: a batch is of one, and what is left costs what prompts cost."""
    setting = Setting(interval_s, 256, 8192)
    state = steady_state(learned(), Workload(5, 512, 512, output), setting)
    assert state.batch == pytest.approx(1.0, abs=1e-6)
    assert 0 < state.ttft_s < inf
    assert state.power_w == pytest.approx(
        steady_state(learned(), Workload(5, 512, 512, 1.0), setting).power_w, rel=1e-3
    )


def test_errors_are_known():
    """The model says how far off it was, and is less sure where it has seen less."""
    model = learned()
    assert model.time.error < 0.01
    assert model.energy.error < 0.05
    near = steady_state(model, Workload(10, 512, 512, 128), Setting(0.0, 256, 8192))
    assert near.tpot_error < 0.05


def test_an_unknown_core_knows_nothing():
    """Without steps there is no prediction, and joules that were not measured break no fit."""
    model = StepCostModel()
    assert not model.is_learned
    assert model.learned(1.0, StepTotals(), None) == model
    half = model.learned(2.0, StepTotals(), 250.0)
    assert half.learned(1.0, StepTotals(), None).energy.use.duration_s == 0
