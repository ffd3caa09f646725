"""Which part of a queue is steady."""

from array import array
from datetime import UTC, datetime

import pytest

from benchmarks.gpu.saturated import steady_rate_tps
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import ReplayRun, RequestResult, RequestStatus


def stream(begun_s, gap_s, tokens):
    request = PlannedRequest(index=0, due_s=0.0, prompt_tokens=8, output_tokens=tokens)
    gaps_s = array("d", [gap_s] * (tokens - 1))
    return RequestResult(request, 0.0, begun_s, None, tokens, gaps_s, RequestStatus.COMPLETED)


def run_of(*streams):
    return ReplayRun(len(streams), list(streams), datetime.now(UTC), 60.0, interrupted=False)


def test_what_comes_after_the_last_prompt_does_not_count():
    """Ten tokens each second while prompts wait, a hundred once none is left."""
    served = [stream(begun_s, 0.1, 10) for begun_s in range(60)]
    assert steady_rate_tps(run_of(*served, stream(60.0, 0.01, 400))) == pytest.approx(10, rel=0.02)


def test_a_queue_that_is_soon_empty_is_refused():
    """There was no steady state, and more requests would make one."""
    with pytest.raises(RequestInvalid, match="take more with --requests"):
        steady_rate_tps(run_of(*(stream(0.1, 0.1, 100) for _ in range(20))))
