"""From a trace to what is sent and when."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.load_generation.plan import PlanOptions, plan_replay
from reconfigure_daemon.load_generation.trace import TraceRequest

TRACE = [TraceRequest(float(second), 100 + second, 10, (0, second)) for second in range(100)]


def endless() -> Iterator[TraceRequest]:
    second = 0
    while True:
        yield TraceRequest(float(second), 10, 10)
        second += 1


def test_speed_divides_arrival_times():
    """At speed 4, what arrived at 8 s is due at 2 s."""
    plan = plan_replay(TRACE, PlanOptions(speed=4))
    assert (plan.requests[8].due_s, plan.span_s, len(plan.requests)) == (2.0, 24.75, 100)


def test_limit_is_replayed_time_and_ends_reading():
    """A limit of 10 s at speed 4 covers 40 s of the trace and reads no further."""
    plan = plan_replay(endless(), PlanOptions(speed=4, limit_s=10))
    assert (len(plan.requests), plan.requests[-1].due_s) == (40, 9.75)


def test_start_is_trace_time():
    """A start of 60 s leaves out the first minute of the trace, and the first request after it is due at once."""
    plan = plan_replay(TRACE, PlanOptions(speed=2, start_s=60))
    assert (plan.requests[0].index, plan.requests[0].due_s, plan.requests[1].due_s) == (60, 0.0, 0.5)


def test_the_number_of_requests_ends_reading():
    """A number of requests is exact and reads no further."""
    assert len(plan_replay(endless(), PlanOptions(requests=7)).requests) == 7


def test_lengths_scale_with_their_blocks():
    """A quarter of the tokens has a quarter of the tokens in each shared block."""
    request = plan_replay([TraceRequest(0, 1024, 40, (1, 2))], PlanOptions(scale_tokens=0.25)).requests[0]
    assert (request.prompt_tokens, request.output_tokens, request.block_tokens) == (256, 10, 128)


def test_caps_cut_and_are_counted():
    """Only what is longer than a cap is cut and counted."""
    trace = [TraceRequest(0, 50, 500), TraceRequest(1, 200, 5)]
    plan = plan_replay(trace, PlanOptions(max_prompt_tokens=100, max_output_tokens=100))
    assert [(r.prompt_tokens, r.output_tokens) for r in plan.requests] == [(50, 100), (100, 5)]
    assert (plan.capped_prompts, plan.capped_outputs, plan.longest_request_tokens) == (1, 1, 150)


def test_a_request_without_tokens_is_sent_with_one():
    """A request that failed when it was recorded still arrives: it is sent with the least that can be asked for."""
    plan = plan_replay([TraceRequest(0, 10, 0), TraceRequest(1, 10, 1)], PlanOptions())
    assert ([r.output_tokens for r in plan.requests], plan.raised_to_one) == ([1, 1], 1)


def test_an_empty_plan_has_no_rate():
    """A plan of nothing has no span and no rate."""
    plan = plan_replay([], PlanOptions())
    assert (plan.span_s, plan.arrival_rate_rps, plan.longest_request_tokens) == (0, 0, 0)


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_a_smaller_sample_is_part_of_a_larger_one(seed: int, one: float, other: float):
    """Thinning depends on the seed and the place in the trace only, so samples are nested."""
    small, large = (
        {request.index for request in plan_replay(TRACE, PlanOptions(sample=share, seed=seed)).requests}
        for share in sorted((one, other))
    )
    assert small <= large


def test_a_sample_keeps_its_share():
    """A sample of a tenth of 20,000 requests keeps about a tenth, and counts the rest."""
    plan = plan_replay(endless(), PlanOptions(sample=0.1, limit_s=20_000))
    assert len(plan.requests) == pytest.approx(2000, rel=0.1)
    assert plan.sampled_out == 20_000 - len(plan.requests)


@given(st.floats(0.001, 100), st.integers(0, 10_000), st.integers(0, 10_000))
def test_every_planned_length_can_be_asked_for(scale: float, prompt: int, output: int):
    """Whatever the scale, prompts and outputs have at least one token and blocks cover at least what they did."""
    blocks = tuple(range(-(-prompt // 512)))
    request = plan_replay([TraceRequest(0, prompt, output, blocks)], PlanOptions(scale_tokens=scale)).requests[0]
    assert min(request.prompt_tokens, request.output_tokens, request.block_tokens) >= 1
    assert not blocks or request.block_tokens * len(blocks) >= request.prompt_tokens
