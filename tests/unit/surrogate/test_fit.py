"""What is learned from few, many, wrong and failed trials."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import (
    Canonical,
    Drift,
    FitOptions,
    Measured,
    Quantity,
    SurrogateCannotBeFitted,
    TooFewTrials,
    Trial,
    TrialInvalid,
    fit,
    quality,
    trial_from_failed_boot,
)

from .worlds import CONTEXT, SPACE, energy_j, enumeration, some, throughput_tps, trials_of


@pytest.mark.parametrize("count", [1, 3, 10])
def test_few_trials_give_wide_intervals_around_them(count: int):
    """Intervals are finite, hold what was measured, and are wider where nothing was."""
    trials = trials_of(some(count))
    surrogates = fit(trials, SPACE)
    tried = surrogates.forecast([trial.configuration for trial in trials], CONTEXT)
    for trial, forecast in zip(trials, tried, strict=True):
        assert forecast.throughput_tps is not None
        assert forecast.throughput_tps.low <= trial.measured[Quantity.THROUGHPUT].value <= forecast.throughput_tps.high
    widths = [each.throughput_tps.relative_width for each in surrogates.forecast(enumeration(), CONTEXT)]
    assert np.isfinite(widths).all()
    assert max(widths) > 1.3 * tried[0].throughput_tps.relative_width
    assert not quality(surrogates).is_trusted or count == 10


def test_nothing_to_learn_from_is_said():
    """Neither no trial nor failed ones alone make a surrogate."""
    with pytest.raises(TooFewTrials, match="0 trials were found"):
        fit([], SPACE)
    failed = trial_from_failed_boot(SPACE.default(), CONTEXT, 0.0, "out of memory")
    with pytest.raises(TooFewTrials, match="1 trials were found, 0 of them with a measurement"):
        fit([failed], SPACE)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_value_that_is_no_measurement_is_refused(value: float):
    """The message names the configuration, the quantity and the value."""
    trial = replace(trials_of(some(1))[0], measured={Quantity.ENERGY: Measured(value)})
    with pytest.raises(TrialInvalid, match=r"energy_per_output_token_j of \[block_size=\d+ .*a finite value above 0"):
        fit([trial], SPACE)


def test_a_fit_that_the_numbers_defeat_is_said():
    """An infinite knob is caught with its quantity and count, not with a traceback of linear algebra."""
    trials = trials_of(some(3))
    broken = replace(trials[0], configuration=trials[0].configuration.with_changes({"pacing_interval_s": float("inf")}))
    with pytest.raises(SurrogateCannotBeFitted, match="could be fitted to 3 trials"):
        fit([broken, *trials[1:]], SPACE)


def test_a_law_is_learned():
    """Forty of 160 configurations foretell the others: R2 above 0.99, at least 90 of 100 within their interval."""
    everything = some(160)
    surrogates = fit(trials_of(everything[:40], relative_sd=0.02), SPACE)
    measured = trials_of(everything[40:], relative_sd=0.02, seed=1)
    forecasts = surrogates.forecast([trial.configuration for trial in measured], CONTEXT)
    for quantity, law in ((Quantity.THROUGHPUT, throughput_tps), (Quantity.ENERGY, energy_j)):
        estimates = [getattr(forecast, quantity) for forecast in forecasts]
        truth = np.array([law(trial.configuration) for trial in measured])
        errors = np.array([estimate.median for estimate in estimates]) - truth
        assert 1 - (errors**2).sum() / ((truth - truth.mean()) ** 2).sum() > 0.99
        values = [trial.measured[quantity].value for trial in measured]
        held = [each.low <= value <= each.high for each, value in zip(estimates, values, strict=True)]
        assert 0.90 <= np.mean(held) <= 1.0
    assert quality(surrogates).is_trusted
    assert quality(surrogates).by_quantity[Quantity.THROUGHPUT].r2 > 0.98


@given(st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_order_of_trials_and_names_of_words_do_not_matter(seed: int):
    """Shuffled trials, other further knobs and a renamed category leave every forecast as it was."""
    trials = trials_of(some(12, seed))
    renamed = ConfigurationSpace(
        tuple(replace(k, values=("a", "b"), default="a") if k.name == "kv_cache_dtype" else k for k in SPACE.knobs)
    )
    words = {"auto": "a", "fp8": "b"}

    def rename(configuration: Configuration) -> Configuration:
        return configuration.with_changes(
            {"kv_cache_dtype": words[configuration["kv_cache_dtype"]], "not_in_the_space": 7}
        )

    order = np.random.default_rng(seed).permutation(len(trials))
    other = fit([replace(trials[i], configuration=rename(trials[i].configuration)) for i in order], renamed)
    candidates = some(20, seed + 1)
    for ours, theirs in zip(
        fit(trials, SPACE).forecast(candidates, CONTEXT),
        other.forecast([rename(each) for each in candidates], CONTEXT),
        strict=True,
    ):
        assert ours.throughput_tps.median == pytest.approx(theirs.throughput_tps.median, rel=1e-6)
        assert ours.throughput_tps.high == pytest.approx(theirs.throughput_tps.high, rel=1e-6)


def test_what_makes_no_difference_is_learned_once():
    """With an alias and a cap, configurations that are the same to the engine have one forecast and share trials."""
    canonical = Canonical(
        without_effect=frozenset({"enforce_eager"}), aliases={"kv_cache_dtype": {"auto": "fp8"}},
        caps={"max_num_seqs": 64},
    )  # fmt: skip
    default = SPACE.default()
    same = default.with_changes({"enforce_eager": True, "kv_cache_dtype": "fp8", "max_num_seqs": 128})
    surrogates = fit(trials_of([default, *some(8)]), SPACE, FitOptions(canonical=canonical))
    one, other = surrogates.forecast([default, same], CONTEXT)
    assert one.throughput_tps == other.throughput_tps
    assert one.observations == other.observations >= 1


def test_failures_are_labels():
    """Neighbours of what ran out of memory become improbable, the far side stays probable, no forecast moves."""
    trials = trials_of([each for each in some(30) if each["max_num_seqs"] <= 32])
    big = [each for each in some(160) if each["max_num_seqs"] == 128]
    failed = [trial_from_failed_boot(each, CONTEXT, 50.0, "out of memory") for each in big[:6]]
    without, with_failures = fit(trials, SPACE), fit([*trials, *failed], SPACE)
    candidates = [big[10], big[10].with_changes({"max_num_seqs": 8})]
    untried, near_tried = with_failures.forecast(candidates, CONTEXT)
    assert untried.feasibility < 0.3 < 0.8 < near_tried.feasibility
    assert without.forecast(candidates, CONTEXT)[0].feasibility == 1.0
    assert untried.energy_per_output_token_j == without.forecast(candidates, CONTEXT)[0].energy_per_output_token_j


def test_old_observations_count_less_after_a_shift():
    """Trials that contradict newer ones from before a shift hardly move the forecast once it is known."""
    configurations = some(20)
    old = [
        replace(trial, at=-86400.0, measured={q: Measured(2 * v.value) for q, v in trial.measured.items()})
        for trial in trials_of(configurations)
    ]
    trials = [*old, *trials_of(configurations[:10])]
    surprised = fit(trials, SPACE)
    told = fit(trials, SPACE, FitOptions(drift=Drift(shifted_at=-1.0, half_life_s=3600.0)))
    truth = throughput_tps(configurations[0])
    before, after = (each.forecast(configurations[:1], CONTEXT)[0].throughput_tps.median for each in (surprised, told))
    assert abs(after / truth - 1) < 0.1 < abs(before / truth - 1)


def test_one_more_trial_is_taken_in_at_once():
    """Conditioning moves the forecast as a fit would, without changing the surrogates it came from."""
    trials = trials_of(some(25))
    surrogates = fit(trials[:24], SPACE)
    target = [trials[24].configuration]
    before = surrogates.forecast(target, CONTEXT)[0].throughput_tps
    after = surrogates.with_trial(trials[24]).forecast(target, CONTEXT)[0]
    refitted = fit(trials, SPACE, warm=surrogates).forecast(target, CONTEXT)[0]
    assert surrogates.forecast(target, CONTEXT)[0].throughput_tps == before
    assert after.throughput_tps.median == pytest.approx(refitted.throughput_tps.median, rel=0.03)
    assert after.throughput_tps.relative_width < before.relative_width
    assert after.observations == 1


#: `max_num_seqs`, `max_num_batched_tokens`, `pacing_interval_s`, `block_size`, tokens/s and TPOT p99 in ms: a session
#: of `python -m benchmarks.closed_loop` on two cores. Tokens/s rise up to 32 requests and fall again; TPOT is noise.
SESSION = (
    (64, 2048, 0, 32, 248, 31.1),
    (16, 512, 0, 32, 208, 29.3),
    (2, 256, 0, 32, 58, 33.7),
    (4, 1024, 0, 32, 115, 31.7),
    (16, 1024, 0, 32, 229, 44.6),
    (8, 2048, 0.03, 64, 170, 31.1),
    (32, 1024, 0.03, 64, 320, 33.0),
    (64, 512, 0.03, 64, 227, 33.0),
    (64, 2048, 0.03, 64, 206, 31.1),
    (2, 2048, 0, 64, 66, 30.5),
    (16, 2048, 0, 64, 272, 29.9),
    (32, 2048, 0, 64, 309, 28.7),
    (8, 2048, 0, 64, 178, 31.1),
    (64, 2048, 0, 64, 227, 31.7),
    (4, 2048, 0, 64, 113, 38.8),
    (32, 2048, 0, 32, 319, 42.0),
    (64, 2048, 0.03, 32, 249, 33.7),
    (16, 2048, 0, 32, 245, 31.1),
    (2, 2048, 0, 32, 62, 33.0),
    (8, 2048, 0, 32, 178, 30.5),
)
SESSION_SPACE = ConfigurationSpace(
    (
        Knob("max_num_seqs", Tier.HOT, (2, 4, 8, 16, 32, 64), 64),
        Knob("max_num_batched_tokens", Tier.HOT, (256, 512, 1024, 2048), 2048),
        Knob("pacing_interval_s", Tier.HOT, (0, 0.03), 0),
        Knob("block_size", Tier.COLD, (32, 64), 32),
    )
)


def session_trials():
    for at, (*values, tokens_per_s, tpot_ms) in enumerate(SESSION):
        configuration = Configuration(dict(zip((knob.name for knob in SESSION_SPACE.knobs), values, strict=True)))
        measured = {Quantity.THROUGHPUT: Measured(float(tokens_per_s)), Quantity.TPOT: Measured(tpot_ms / 1000)}
        yield Trial(configuration, CONTEXT, float(at), measured)


@pytest.mark.parametrize("earlier", [(), (8,), (8, 12, 16), tuple(range(4, 20))])
def test_a_session_ends_with_the_same_knowledge_whenever_it_was_looked_at(earlier: tuple[int, ...]):
    """Eight trials may look like noise around a line; what the next ones show is seen all the same."""
    trials, surrogates = list(session_trials()), None
    for count in (*earlier, len(trials)):
        surrogates = fit(trials[:count], SESSION_SPACE, warm=surrogates)
    assert quality(surrogates).by_quantity[Quantity.THROUGHPUT].r2 > 0.85


def test_a_latency_that_nothing_explains_is_trusted_while_its_intervals_hold():
    """No law explains noise; a limit asks only for an upper end that holds."""
    found = quality(fit(list(session_trials()), SESSION_SPACE))
    assert found.by_quantity[Quantity.TPOT].r2 < 0
    assert found.by_quantity[Quantity.TPOT].coverage > 0.9
    assert found.is_trusted


def test_an_objective_that_nothing_explains_is_not_trusted():
    """Noise of the same size in tokens per second leaves nothing to choose by."""
    trials = [
        replace(trial, measured={Quantity.THROUGHPUT: Measured(1000 * trial.measured[Quantity.TPOT].value)})
        for trial in session_trials()
    ]
    (fault,) = quality(fit(trials, SESSION_SPACE)).faults
    assert "throughput_tps is predicted no better than by its mean" in fault


def test_the_workload_is_an_input_where_it_varies():
    """Energy that falls with the rate is foretold for a rate in between; saturated throughput does not ask for it."""
    trials = []
    for rate in (1.0, 2.0, 4.0, 8.0):
        context = WorkloadContext(rate, 200.0, 100.0)
        for trial in trials_of(some(8, seed=int(rate))):
            energy = Measured(energy_j(trial.configuration) + 3.0 / rate)
            trials.append(replace(trial, context=context, measured={**trial.measured, Quantity.ENERGY: energy}))
    surrogates, candidates = fit(trials, SPACE), some(30, seed=99)
    slow, between = (surrogates.forecast(candidates, WorkloadContext(rate, 200.0, 100.0)) for rate in (1.0, 2.8))
    for ours, other in zip(between, slow, strict=True):
        truth = energy_j(ours.configuration) + 3.0 / 2.8
        assert ours.energy_per_output_token_j.median == pytest.approx(truth, rel=0.15)
        assert ours.throughput_tps == other.throughput_tps


def test_whoever_handles_trials_stays_small():
    """Importing the room brings neither numpy nor torch."""
    code = (
        "import sys, reconfigure_policies.surrogate; sys.exit({'numpy', 'scipy', 'torch'} & set(sys.modules) != set())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
