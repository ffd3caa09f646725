"""Whatever the governor is shown, its targets stay in the space, and speed comes back at once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.decision.governor import (
    EngineReading,
    EngineSample,
    GovernorLimits,
    GovernorState,
    govern,
    sample_between,
)
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.steps import StepMoments, StepTotals
from reconfigure_policies.domain.workload import FinishReason, IterationTotals, RequestRecord
from tests.simulation.governed import SLO, SPACE, governed
from tests.simulation.plant import poisson

LIMITS = GovernorLimits.of(SPACE, SPACE.default(), SLO)


@cache
def experienced():
    """A governor that has settled on a pace at ten requests a second."""
    run = governed(poisson(10, 60), 60)
    assert run.configuration["pacing_interval_s"] > 0
    return run.state, run.configuration


def quiet(state, **facts):
    """A second like those that it has settled under, but for what is given."""
    ended_s = 1000.0 + state.elapsed_s
    return EngineSample(**{"ended_s": ended_s, "duration_s": 1.0, "arrivals": 10, "prompt_tokens": 5120, **facts})


def record(ended_s, ttft_s=0.02, tpot_s=0.03, tokens=100):
    latency_s = ttft_s + tpot_s * (tokens - 1)
    return RequestRecord(ended_s - latency_s, ttft_s, latency_s, 512, 0, tokens, tpot_s, FinishReason.LENGTH)


samples = st.builds(
    EngineSample,
    ended_s=st.floats(1, 1e6),
    duration_s=st.floats(0.05, 30),
    arrivals=st.integers(0, 500),
    finished=st.integers(0, 500),
    preemptions=st.integers(0, 3),
    prompt_tokens=st.integers(0, 500_000),
    cached_prompt_tokens=st.integers(0, 500_000),
    output_tokens=st.integers(0, 100_000),
    running=st.integers(0, 300),
    waiting=st.integers(0, 300),
    energy_j=st.none() | st.floats(0, 1e5),
    records=st.lists(
        st.builds(record, st.floats(1, 1e6), st.floats(1e-4, 10), st.floats(1e-4, 1), st.integers(1, 2000)), max_size=8
    ).map(tuple),
)


@settings(deadline=None)  # the first example waits for a governor with experience
@given(st.lists(samples, max_size=40), st.booleans(), st.sampled_from([0.001, 0.05, 0.3]), st.booleans())
def test_targets_stay_in_the_space(history, knows, tpot_s, whole):
    """No history of samples, however odd, makes it name a knob or a value that the space does not allow."""
    space = SPACE if whole else ConfigurationSpace(SPACE.knobs[:1])
    limits = GovernorLimits.of(space, space.default(), ServiceLevelObjective(1.0, tpot_s))
    state, configuration = experienced() if knows else (GovernorState(), space.default())
    configuration = Configuration({name: configuration[name] for name in space.default()})
    for sample in history:
        step = govern(state, sample, configuration, limits)
        space.check(step.changes)
        assert bool(step.reason) or not step.changes
        state, configuration = step.state, configuration.with_changes(step.changes)


@pytest.mark.parametrize(
    "facts",
    [{"arrivals": 100}, {"running": 240}, {"waiting": 60}, {"preemptions": 2}],
    ids=["surge", "near the cap", "queue", "preempted"],
)
def test_any_alarm_ends_pacing_in_the_same_call(facts):
    """A tenfold surge, a full batch, a queue or a lost place: no pace is left, and the caps are the largest."""
    state, configuration = experienced()
    step = govern(state, quiet(state, **facts), configuration, LIMITS)
    after = configuration.with_changes(step.changes)
    assert after["pacing_interval_s"] == 0
    assert after["max_num_seqs"] == 256
    assert next(str(value) for value in facts.values()) in step.reason


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"arrivals": 50}, "100 requests/s arrive where 19.8"),
        ({"running": 240.5}, "240 requests run of 256 that may in each of 2 replicas"),
        ({"waiting": 10.5}, "21 requests wait, 10 would still start in time"),
        ({"preemptions": 0.5}, "1 requests lost their place in the KV cache"),
    ],
    ids=["surge", "near the cap", "queue", "preempted"],
)
def test_an_alarm_of_replicas_tells_the_numbers_of_all(facts, why):
    """Each has the running cap to itself; what arrives, waits and is preempted is told of the whole engine."""
    state, configuration = experienced()
    step = govern(state, quiet(state, **facts, replicas=2), configuration, LIMITS)
    assert why in step.reason


@settings(deadline=None)  # the first example waits for a governor with experience
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_more_load_never_slows_down(arrivals, running, waiting):
    """If a second makes it give back, a worse one does too: giving back is monotone."""
    state, configuration = experienced()
    mild = govern(state, quiet(state, arrivals=arrivals, running=running, waiting=waiting), configuration, LIMITS)
    worse = quiet(state, arrivals=2 * arrivals, running=running + 50, waiting=waiting + 50)
    if mild.changes.get("pacing_interval_s") == 0:
        assert govern(state, worse, configuration, LIMITS).changes["pacing_interval_s"] == 0


def test_after_an_alarm_it_waits_before_it_slows_down_again():
    """Calm seconds must pass first; an alarm in between starts the wait anew."""
    state, configuration = experienced()
    step = govern(state, quiet(state, arrivals=100), configuration, LIMITS)
    configuration, waited = configuration.with_changes(step.changes), 0
    while "pacing_interval_s" not in (step := govern(step.state, quiet(step.state), configuration, LIMITS)).changes:
        waited += 1
        assert waited < 60
    assert waited >= 4


def test_measured_tails_near_the_limit_speed_it_up_and_make_it_cautious():
    """Where requests come nearer to the limit than predicted, the pace gives way and less of the limit is used."""
    state, configuration = experienced()
    late = tuple(record(1000.0 + state.elapsed_s, tpot_s=0.0495, tokens=10) for _ in range(10))
    step = govern(replace(state, changed_at_s=0.0), quiet(state, records=late), configuration, LIMITS)
    assert step.changes["pacing_interval_s"] < configuration["pacing_interval_s"]
    assert step.state.caution < 1
    assert "TPOT came too near" in step.reason


def late_beside_long_prompts(tpot_s, late_s, budget):
    """What is done at a budget without a pace, where decoding requests waited that long between long prompts."""
    slo = ServiceLevelObjective(ttft_s=1.0, tpot_s=tpot_s)
    limits = GovernorLimits.of(SPACE, SPACE.default(), slo)
    state = replace(governed(poisson(8, 60, 4000, 20), 60, slo).state, changed_at_s=0.0)
    assert state.search(limits).fastest == replace(limits.stock, max_num_batched_tokens=budget)
    late = tuple(record(1000.0 + state.elapsed_s, tpot_s=late_s, tokens=20) for _ in range(10))
    configuration = SPACE.default().with_changes({"max_num_batched_tokens": budget})
    return govern(state, quiet(state, arrivals=8, prompt_tokens=32_000, records=late), configuration, limits)


def test_measured_tails_near_the_limit_shorten_steps_where_nothing_is_paced():
    """Decoding requests waited longer than predicted: steps become shorter before it says that no setting holds."""
    step = late_beside_long_prompts(tpot_s=0.043, late_s=0.0445, budget=2048)
    assert step.changes == {"max_num_batched_tokens": 512}
    assert "TPOT came too near" in step.reason


def test_longer_steps_are_no_remedy():
    """Where even the shortest steps are too long, they stay as they are, and it says so."""
    step = late_beside_long_prompts(tpot_s=0.0122, late_s=0.0135, budget=512)
    assert step.changes == {}
    assert step.reason.startswith("No setting holds the service level: TPOT")


TIGHT = ServiceLevelObjective(ttft_s=0.07, tpot_s=0.0152)


@cache
def crowded_with_prompts():
    """A governor that knows 24 requests a second of 1,000 + 100 tokens.

    Paced at 10 ms their prompts are late; flat out, as the engine goes as soon as a few more arrive, they are not.
    """
    state = governed(poisson(24, 30, 1000, 100), 30, ServiceLevelObjective(ttft_s=5.0, tpot_s=0.3)).state
    return state.under(TIGHT, 1000.0 + state.elapsed_s)


def rescued(intervals_s, budget, **facts):
    """What is done at 10 ms, and the search behind it."""
    space = ConfigurationSpace((Knob("pacing_interval_s", Tier.HOT, intervals_s, 0.0), *SPACE.knobs[1:]))
    limits = GovernorLimits.of(space, space.default(), TIGHT)
    configuration = space.default().with_changes({"pacing_interval_s": 0.01, "max_num_batched_tokens": budget})
    state = replace(crowded_with_prompts(), **facts)
    search, setting = state.search(limits), limits.setting_of(configuration)
    assert search.holds(search.fastest)
    assert not search.holds(setting)
    assert search.holds(setting, 1.3)
    return govern(state, quiet(state, arrivals=24, prompt_tokens=24_000), configuration, limits)


def test_what_holds_when_arrivals_grow_need_not_hold_now():
    """The pace gives way by as much as the present rate asks for, not all of it."""
    step = rescued((0.0, 0.008, 0.01), 512)
    assert step.changes == {"pacing_interval_s": 0.008}
    assert step.reason.startswith("Adjust pacing_interval_s from 0.01 to 0.008: at 23.9 requests/s TTFT would come to ")


def test_no_setting_is_said_to_hold_only_where_the_fastest_does_not():
    """Where one that holds may not be taken yet, since its steps are smaller, the fastest is taken with its numbers."""
    now_s = crowded_with_prompts().elapsed_s
    step = rescued((0.0, 0.008, 0.01), 2048, changed_s=now_s, calm_from_s=now_s + 20)
    assert step.changes["pacing_interval_s"] == 0
    assert "TTFT would come to" in step.reason
    assert "no setting holds" not in step.reason


def test_requests_from_before_a_change_are_not_held_against_it():
    """A slow answer that began under the old setting says nothing of the new one."""
    state, configuration = experienced()
    late = tuple(record(1000.0 + state.elapsed_s, tpot_s=0.4) for _ in range(10))
    changed = replace(state, changed_at_s=999.0 + state.elapsed_s)
    assert govern(changed, quiet(state, records=late), configuration, LIMITS).changes == {}


def test_requests_that_began_under_other_limits_are_not_held_against_it():
    """A tightened limit speeds it up by prediction, without the caution that its own misses would teach."""
    state, configuration = experienced()
    tighter = GovernorLimits.of(SPACE, SPACE.default(), ServiceLevelObjective(1.0, 0.6 * SLO.tpot_s))
    late = tuple(record(1000.0 + state.elapsed_s) for _ in range(10))
    step = govern(replace(state, changed_at_s=0.0), quiet(state, records=late), configuration, tighter)
    assert step.changes["pacing_interval_s"] < configuration["pacing_interval_s"]
    assert step.state.caution == 1
    after = govern(step.state, quiet(step.state, records=late), configuration.with_changes(step.changes), tighter)
    assert after.state.caution == 1


def test_a_space_without_caps_and_budgets_is_governed_by_pace_alone():
    """Knobs that the space does not have are never named."""
    space = ConfigurationSpace((Knob("pacing_interval_s", Tier.HOT, (0.0, 0.02, 0.04), 0.0),))
    run = governed(poisson(10, 60), 60, space=space)
    assert dict(run.configuration) == {"pacing_interval_s": 0.04}


def test_samples_come_from_one_host_only():
    """Counters that went back, or no time at all between two readings, make no sample."""
    earlier = EngineReading(IterationTotals(10.0, 5, 100, 0, 50, 4, 3, 0, 1, 0, 0.1), None, 500.0)
    later = EngineReading(replace(earlier.totals, at_s=11.0, arrived=6, output_tokens=70), None, 620.0)
    sample = sample_between(earlier, later)
    assert (sample.duration_s, sample.arrivals, sample.output_tokens, sample.energy_j) == (1.0, 2, 20, 120.0)
    assert sample.steps is None
    assert sample_between(later, earlier) is None
    assert sample_between(earlier, earlier) is None


def test_a_sample_is_of_the_average_replica():
    """Sums are shared out; latencies, and the context that fits into one, are what they were."""
    totals = IterationTotals(10.0, 5, 100, 0, 50, 4, 3, 0, 1, 0, 0.1)
    moments = StepMoments().plus([6.0] * 15)
    earlier = EngineReading(totals, StepTotals(kv_capacity_tokens=900.0), 500.0, replicas=2)
    later = EngineReading(
        replace(
            totals,
            at_s=12.0,
            arrived=9,
            finished=4,
            preemptions=1,
            prompt_tokens=400,
            cached_prompt_tokens=30,
            output_tokens=80,
            running=5,
            waiting=3,
        ),
        StepTotals(moments, moments, 5, 8.0, 900.0),
        620.0,
        replicas=2,
    )
    half = StepMoments().plus([3.0] * 15)
    assert sample_between(earlier, later, (record(11.0),)) == EngineSample(
        ended_s=12.0,
        duration_s=2.0,
        arrivals=2.5,
        finished=0.5,
        preemptions=0.5,
        prompt_tokens=150,
        cached_prompt_tokens=15,
        output_tokens=15,
        running=2.5,
        waiting=1.5,
        steps=StepTotals(half, half, 2.5, 4.0, 900.0),
        energy_j=60.0,
        records=(record(11.0),),
        replicas=2,
    )
    other = sample_between(replace(earlier, replicas=1), later)
    assert other.steps is None
    assert (other.replicas, other.arrivals) == (2, 2.5)
