"""A stretch of a replay is judged by what clients saw, and not by what they could not see yet."""

from __future__ import annotations

from array import array

import pytest

from benchmarks.harness.requests import seen_in
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import RequestResult, RequestStatus


def result(due_s, ttft_s=None, gaps_s=(), status=RequestStatus.COMPLETED):
    request = PlannedRequest(index=0, due_s=due_s, prompt_tokens=8, output_tokens=8)
    first_s = None if ttft_s is None else due_s + ttft_s
    return RequestResult(request, due_s, first_s, None, len(gaps_s) + 1 if ttft_s else 0, array("d", gaps_s), status)


def test_each_limit_counts_by_itself():
    """One request is late with its first token, one with the others, one with both, and one is good."""
    results = [
        result(1.0, 0.2, [0.02] * 4),
        result(2.0, 1.5, [0.02] * 4),
        result(3.0, 0.2, [0.02, 0.2]),
        result(4.0, 1.5, [0.2]),
    ]
    seen = seen_in(results, 0, 10, ttft_limit_s=1.0, tpot_limit_s=0.05)
    assert (seen.requests, seen.good, seen.late_ttft, seen.late_tpot) == (4, 1, 2, 2)
    assert seen.attainment == pytest.approx(0.25)


def test_who_waits_at_the_end_is_late_only_if_it_is_too_late_already():
    """Of two that have no first token when the replay is stopped, one has waited for longer than it may."""
    results = [result(due_s, status=RequestStatus.UNFINISHED) for due_s in (8.0, 9.5)]
    seen = seen_in([result(1.0, 0.2), *results], 0, 10, ttft_limit_s=1.0, tpot_limit_s=0.05)
    assert (seen.requests, seen.good, seen.late_ttft, seen.failed) == (2, 1, 1, 0)


def test_a_stream_that_stands_still_at_the_end_is_late():
    """Its next token counts as coming now, once it should have come already."""
    results = [result(due_s, 0.2, [0.02] * 2, RequestStatus.UNFINISHED) for due_s in (1.0, 9.72)]
    seen = seen_in(results, 0, 10, ttft_limit_s=1.0, tpot_limit_s=0.05)
    assert (seen.requests, seen.good, seen.late_tpot) == (2, 1, 1)


def test_who_was_refused_is_late_and_failed():
    """However close to the end."""
    seen = seen_in([result(9.9, status=RequestStatus.REFUSED)], 0, 10, ttft_limit_s=1.0)
    assert (seen.requests, seen.good, seen.late_ttft, seen.failed) == (1, 0, 1, 1)
