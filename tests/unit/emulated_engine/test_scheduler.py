"""The emulated scheduler loses nothing, keeps its bounds and behaves the same however its time is cut."""

from __future__ import annotations

import time
from dataclasses import astuple, replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace
from reconfigure_policies.domain.workload import FinishReason
from tests.unit.emulated_engine.examples import FOREVER_S, arrivals, unhurried

knobs = st.builds(
    SchedulerKnobs,
    max_num_seqs=st.integers(1, 12),
    max_num_batched_tokens=st.sampled_from([16, 64, 512, 8192]),
    long_prefill_token_threshold=st.sampled_from([0, 7, 256]),
    pacing_interval_s=st.sampled_from([0.0, 0.005, 0.03]),
    prefix_cache_reading=st.booleans(),
)


def scheduler_of(requests, knobs, model=None):
    scheduler = EmulatedScheduler(model or EngineModel(), knobs)
    for request in requests:
        scheduler.submit(request)
    return scheduler


def stepwise(scheduler):
    """Advances from event to event, yielding after each; the ends are collected."""
    while (event_s := scheduler.next_event_s()) < inf:
        yield scheduler.advance(event_s)


def numbers(record):
    return [value for value in astuple(record) if isinstance(value, int | float)]


@unhurried
@given(arrivals, knobs)
def test_every_request_gets_exactly_its_tokens(requests, knobs):
    """Nothing is lost, cut short or counted twice, and nothing of it stays behind."""
    scheduler = scheduler_of(requests, knobs)
    ended = {end.id: end.record for end in scheduler.advance(FOREVER_S)}
    assert ended.keys() == {request.id for request in requests}
    for request in requests:
        record = ended[request.id]
        assert (record.prompt_tokens, record.output_tokens) == (request.prompt_tokens, request.output_tokens)
        assert 0 < record.ttft_s <= record.e2e_latency_s
        assert record.longest_gap_s <= record.e2e_latency_s
        assert record.finish_reason is FinishReason.LENGTH
    totals = scheduler.totals()
    assert totals.output_tokens == sum(request.output_tokens for request in requests)
    assert totals.prompt_tokens == sum(request.prompt_tokens for request in requests)
    assert totals.arrived == totals.finished == len(requests)
    assert sum(totals.itl_s_histogram) == totals.output_tokens - len(requests)
    assert (totals.running, totals.waiting, totals.kv_cache_usage) == (0, 0, 0.0)
    assert scheduler._queues.reserved_tokens == 0


@unhurried
@given(arrivals, knobs)
def test_batch_and_step_stay_within_their_bounds(requests, knobs):
    """No step runs more requests than the cap, more tokens than the budget, or a longer chunk than the threshold."""
    scheduler = scheduler_of(requests, knobs)
    for _ in stepwise(scheduler):
        if (step := scheduler._in_flight) is None:
            continue
        chunks = [tokens for _, tokens in step.chunks]
        assert scheduler._queues.running <= knobs.max_num_seqs
        decoding = scheduler._queues.decoding if step.decodes else 0
        assert sum(chunks) + decoding <= knobs.max_num_batched_tokens
        assert all(1 <= tokens <= (knobs.long_prefill_token_threshold or inf) for tokens in chunks)


@unhurried
@given(arrivals, knobs)
def test_stretches_of_steps_equal_single_steps(requests, knobs):
    """Working decode steps out at once changes neither times nor joules nor counters.

    Whether a step that is due in the very moment of an arrival comes before it is a matter of rounding, which differs:
    arrivals are moved apart from such moments.
    """
    requests = [replace(request, at_s=request.at_s + 1.4142e-4 * number) for number, request in enumerate(requests)]
    at_once, by_steps = scheduler_of(requests, knobs), scheduler_of(requests, knobs)
    expected = [end for ends in stepwise(by_steps) for end in ends]
    by_steps.advance(FOREVER_S)
    measured = {end.id: end.record for end in at_once.advance(FOREVER_S)}
    for end in expected:
        assert numbers(measured[end.id]) == pytest.approx(numbers(end.record), rel=1e-9, abs=1e-9)
    assert at_once.step == by_steps.step
    assert at_once.energy_j == pytest.approx(by_steps.energy_j, rel=1e-9)


@unhurried
@given(arrivals, knobs, st.lists(st.floats(0, 30), max_size=12))
def test_energy_never_decreases(requests, knobs, times_s):
    """Reading at any times, the joules only grow, and by idle power at least."""
    scheduler = scheduler_of(requests, knobs)
    before_s, before_j = 0.0, 0.0
    for time_s in sorted(times_s):
        scheduler.advance(time_s)
        idle_j = scheduler.model.idle_power_w * (time_s - before_s)
        assert scheduler.energy_j >= before_j + idle_j - 1e-6
        before_s, before_j = time_s, scheduler.energy_j


@unhurried
@given(arrivals, knobs, st.data())
def test_an_abort_frees_what_it_held(requests, knobs, data):
    """An aborted request ends once, as aborted, and the others still get all their tokens."""
    scheduler = scheduler_of(requests, knobs)
    finished = {end.id for end in scheduler.advance(data.draw(st.floats(0, 3)))}
    victim = data.draw(st.sampled_from(requests)).id
    abort = scheduler.abort(victim)
    assert (abort is None) == (victim in finished)
    assert scheduler.abort(victim) is None
    rest = {end.id: end.record.output_tokens for end in scheduler.advance(FOREVER_S)}
    expected = {r.id: r.output_tokens for r in requests if r.id != victim and r.id not in finished}
    assert rest == expected
    assert scheduler.live_requests == scheduler._queues.kv_tokens == scheduler._queues.reserved_tokens == 0


@unhurried
@given(arrivals, knobs)
def test_the_same_arrivals_give_the_same_run(requests, knobs):
    """There is no hidden randomness."""
    first, second = scheduler_of(requests, knobs), scheduler_of(requests, knobs)
    assert first.advance(FOREVER_S) == second.advance(FOREVER_S)
    assert first.energy_j == second.energy_j


def test_a_cache_that_is_nearly_full_makes_requests_wait():
    """Admission reserves a request's whole context, so the reservation never exceeds what fits."""
    model = EngineModel(kv_capacity_tokens=1000)
    scheduler = scheduler_of([Arrival(str(i), 0.0, 300, 100) for i in range(9)], SchedulerKnobs(), model)
    for _ in stepwise(scheduler):
        assert scheduler._queues.reserved_tokens <= 1000
    assert scheduler.totals().finished == 9


def test_what_can_never_fit_is_refused():
    """A request larger than the KV cache is told so at once, with both numbers."""
    scheduler = EmulatedScheduler(EngineModel(kv_capacity_tokens=1000), SchedulerKnobs())
    with pytest.raises(ValueError, match=r"1001 tokens of KV cache; 1000 fit"):
        scheduler.submit(Arrival("a", 0.0, 900, 101))


@pytest.mark.parametrize(("prompt", "output"), [(0, 1), (1, 0)])
def test_a_request_without_tokens_is_refused(prompt, output):
    """There is no empty prompt and no empty answer."""
    with pytest.raises(ValueError, match="both must be at least 1"):
        Arrival("a", 0.0, prompt, output)


def test_pacing_gives_fuller_steps_and_yields_to_an_arrival():
    """Steps that only decode keep the interval; a prompt does not wait for it."""
    scheduler = scheduler_of(
        [Arrival("a", 0.0, 100, 50), Arrival("b", 0.2071, 100, 2)], SchedulerKnobs(pacing_interval_s=0.05)
    )
    ends = {end.id: end.record for end in scheduler.advance(FOREVER_S)}
    assert ends["a"].longest_gap_s == pytest.approx(0.05, rel=0.01)
    assert ends["b"].ttft_s < 0.008


def test_a_lowered_cap_drains_down():
    """Running requests go on; no other is admitted until the batch is under the new cap."""
    scheduler = scheduler_of([Arrival(str(i), 0.0, 10, 20 + 10 * i) for i in range(8)], SchedulerKnobs())
    scheduler.advance(0.05)
    assert scheduler.totals().running == 8
    scheduler.set_knobs(SchedulerKnobs(max_num_seqs=2))
    scheduler.submit(Arrival("late", 0.05, 10, 5))
    ends = [end.id for end in scheduler.advance(FOREVER_S)]
    assert ends == ["0", "1", "2", "3", "4", "5", "6", "late", "7"]


def test_a_shared_prefix_is_computed_once():
    """A second prompt with the same blocks takes them from the cache and starts sooner; not when reading is off."""
    requests = [Arrival("a", 0.0, 1600, 2, blocks=range(100)), Arrival("b", 1.0, 1600, 2, blocks=range(100))]
    first, second = scheduler_of(requests, SchedulerKnobs()).advance(FOREVER_S)
    assert (first.record.cached_prompt_tokens, second.record.cached_prompt_tokens) == (0, 1599)
    assert second.record.ttft_s < first.record.ttft_s / 4
    unread = scheduler_of(requests, SchedulerKnobs(prefix_cache_reading=False)).advance(FOREVER_S)
    assert [end.record.cached_prompt_tokens for end in unread] == [0, 0]


def test_another_core_goes_on_where_the_first_stopped():
    """Streams keep their progress, see one long gap, and find an empty prefix cache."""
    scheduler = scheduler_of([Arrival("a", 0.0, 100, 200, blocks=range(6))], SchedulerKnobs())
    scheduler.advance(0.3)
    moved = scheduler.replace_core(EngineModel(), SchedulerKnobs(), resume_s=0.8)
    assert moved == 100 + scheduler.generated_tokens("a")
    scheduler.submit(Arrival("b", 0.9, 100, 2, blocks=range(6)))
    ends = {end.id: end.record for end in scheduler.advance(FOREVER_S)}
    assert ends["a"].output_tokens == 200
    assert ends["a"].replays == 1
    assert ends["a"].longest_gap_s == pytest.approx(0.5, abs=0.01)
    assert (ends["b"].replays, ends["b"].cached_prompt_tokens) == (0, 0)


@pytest.mark.parametrize("value", [0, -3, "many", 1.5])
def test_a_senseless_knob_is_refused_by_name(value):
    """A value that means nothing for its knob is told, not obeyed."""
    with pytest.raises(ConfigurationOutsideSpace, match="max_num_seqs"):
        SchedulerKnobs().changed({"max_num_seqs": value, "block_size": 32})


def test_virtual_time_is_fast():
    """More than 100,000 steps a second, so that a day of a busy server is simulated in seconds."""
    requests = [Arrival(str(i), i * 0.25, 1000, 200) for i in range(10_000)]
    scheduler = scheduler_of(requests, SchedulerKnobs())
    started_s = time.perf_counter()
    scheduler.advance(FOREVER_S)
    assert scheduler.step / (time.perf_counter() - started_s) > 100_000
