"""What is suggested: gains are real, limits hold, joules count, the same seed says the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.surrogate import (
    OBJECTIVES,
    Canonical,
    FitOptions,
    Measured,
    ObjectiveNotMeasured,
    Quantity,
    SuggestOptions,
    fit,
    hypervolume,
    initial_design,
    suggest,
    trial_from_failed_boot,
)
from reconfigure_policies.surrogate.draws import draw_functions

from .worlds import CONTEXT, SPACE, energy_j, enumeration, some, throughput_tps, trials_of

REFERENCE = (100.0, 1.0)
CANDIDATES = enumeration()


def true_hypervolume(configurations: list[Configuration]) -> float:
    return hypervolume([(throughput_tps(each), energy_j(each)) for each in configurations], REFERENCE, OBJECTIVES)


@pytest.mark.parametrize("method", ["nehvi", "thompson"])
def test_a_few_suggestions_find_the_front(method: str):
    """Eight trials to begin with and twelve suggested ones reach 99 % of what all 160 would."""
    chosen = list(initial_design(CANDIDATES, SPACE, 8, seed=1))
    options = SuggestOptions(reference_point=REFERENCE, method=method, samples=64)
    for _ in range(4):
        surrogates = fit(trials_of(chosen), SPACE)
        found = suggest(surrogates, CANDIDATES, CONTEXT, batch=3, options=options)
        chosen += [each.forecast.configuration for each in found.chosen]
    assert len(set(chosen)) == 20
    assert true_hypervolume(chosen) > 0.99 * true_hypervolume(CANDIDATES)


def test_the_same_seed_says_the_same():
    """Suggestions are a function of trials, candidates and seed."""
    surrogates = fit(trials_of(some(12)), SPACE)
    assert suggest(surrogates, CANDIDATES, CONTEXT, batch=2) == suggest(surrogates, CANDIDATES, CONTEXT, batch=2)


def test_the_slo_bounds_what_is_suggested():
    """Where large batches are too slow, every suggestion stays small, although throughput would want more."""
    trials = [
        replace(
            trial, measured={**trial.measured, Quantity.TPOT: Measured(0.001 * trial.configuration["max_num_seqs"])}
        )
        for trial in trials_of(some(30))
    ]
    found = suggest(fit(trials, SPACE), CANDIDATES, CONTEXT, ServiceLevelObjective(tpot_s=0.04), batch=5)
    assert all(each.forecast.configuration["max_num_seqs"] <= 32 for each in found.chosen)
    assert all(each.success > 0.5 for each in found.chosen)


def test_what_was_tried_or_failed_is_left_out():
    """Neither a tried nor a failed configuration is suggested again, and their number is told."""
    tried = some(12)
    failed = trial_from_failed_boot(some(13)[12], CONTEXT, 20.0, "out of memory")
    found = suggest(fit([*trials_of(tried), failed], SPACE), CANDIDATES, CONTEXT, batch=200)
    assert not {each.forecast.configuration for each in found.chosen} & {*tried, failed.configuration}
    assert found.left_out == {"tried before": 12, "failed before": 1}
    assert len(found.chosen) == 160 - 13


def test_names_for_the_same_are_suggested_once():
    """Of candidates that are the same to the engine only one is left."""
    canonical = Canonical(without_effect=frozenset({"enforce_eager", "block_size"}))
    surrogates = fit(trials_of(some(10)), SPACE, FitOptions(canonical=canonical))
    found = suggest(surrogates, CANDIDATES, CONTEXT, batch=200)
    assert len(found.chosen) + found.left_out["tried before"] / 4 == 40


@given(st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_joules_turn_the_choice(seed: int):
    """Where boots are dear, what is chosen gains at least as much per joule as the choice that ignores them."""
    surrogates = fit(trials_of(some(10, seed)), SPACE)
    enforced = SPACE.default()
    cold = ("block_size", "enforce_eager", "kv_cache_dtype")

    def cost_j(before: Configuration, after: Configuration) -> float:
        return 1e6 if any(before[name] != after[name] for name in cold) else 1e3

    options = SuggestOptions(seed=seed)
    thrifty = suggest(surrogates, CANDIDATES, CONTEXT, options=options, cost_j_of=cost_j, enforced=enforced).chosen[0]
    lavish = suggest(surrogates, CANDIDATES, CONTEXT, options=options).chosen[0]
    assert thrifty.gain <= lavish.gain
    assert thrifty.gain_per_j >= lavish.gain / cost_j(enforced, lavish.forecast.configuration)
    assert lavish.cost_j is None


def test_an_objective_nobody_measured_is_said():
    """Without energy data there is no energy front; what was measured is named."""
    trials = [
        replace(trial, measured={Quantity.THROUGHPUT: trial.measured[Quantity.THROUGHPUT]})
        for trial in trials_of(some(5))
    ]
    with pytest.raises(ObjectiveNotMeasured, match="no trial measured energy_per_output_token_j; measured were: thr"):
        suggest(fit(trials, SPACE), CANDIDATES, CONTEXT)
    single = suggest(fit(trials, SPACE), CANDIDATES, CONTEXT, options=SuggestOptions((Quantity.THROUGHPUT,)))
    assert single.chosen[0].forecast.throughput_tps is not None


def test_candidates_that_ran_out_are_no_error():
    """Where everything was tried, nothing is suggested."""
    found = suggest(fit(trials_of(some(5)), SPACE), some(5), CONTEXT, batch=2)
    assert found.chosen == ()
    assert found.remaining == 0.0


@given(st.integers(1, 200), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_first_trials_cover_the_space(count: int, seed: int):
    """They are different candidates, as many as asked for or there are, with every value of a knob among 32 of them."""
    design = initial_design(CANDIDATES, SPACE, count, seed)
    assert len(set(design)) == len(design) == min(count, len(CANDIDATES))
    assert set(design) <= set(CANDIDATES)
    if count >= 32:
        assert {each["max_num_seqs"] for each in design} == {8, 16, 32, 64, 128}
    assert design == initial_design(CANDIDATES, SPACE, count, seed)


def test_draws_have_the_posterior_they_are_drawn_from():
    """Mean and spread of a thousand drawn functions are those that the processes tell."""
    surrogates = fit(trials_of(some(10)), SPACE)
    model = surrogates.models[Quantity.THROUGHPUT]
    inputs, features = surrogates.encodings[Quantity.THROUGHPUT].encode(CANDIDATES[:40], [CONTEXT] * 40)
    process = model.members[0]
    drawn = np.vstack(
        [draw_functions(process, inputs, features, 50, np.random.default_rng(seed)) for seed in range(40)]
    )
    mean, variance = process.posterior(inputs, features)
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.15)
    assert drawn.std(axis=0) == pytest.approx(np.sqrt(variance), rel=0.3, abs=0.03)
