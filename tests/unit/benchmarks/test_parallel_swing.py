"""The load that swings on several GPUs, and what is judged of it."""

from argparse import Namespace

import pytest

from benchmarks.gpu.parallel_swing import Arm, arrivals, name_of, rate_rps, rows_of
from benchmarks.harness.requests import seen_in
from benchmarks.harness.trace import trace_path
from reconfigure_daemon.errors import RequestInvalid

SWING = Namespace(low=2.5, times=10.0, length=480.0, seed=0, trace="azure_2023_conv.csv.gz")


def arm(joules_per_token):
    return Arm(joules_per_token, 300.0, [joules_per_token] * 4, seen_in([], 0, 480), [(0.0, 4), (60.0, 1)])


def test_the_rate_swings_tenfold_and_comes_back():
    """Low for a quarter, high from a half to five eighths, low for the last eighth."""
    rates = [rate_rps(SWING, share / 8) for share in range(9)]
    assert rates == pytest.approx([2.5, 2.5, 2.5, 13.75, 25, 25, 13.75, 2.5, 2.5])


def test_arrivals_follow_the_rate():
    """As many in each part as its rate says, give or take what chance does, in order and with the trace's lengths."""
    try:
        trace_path(SWING.trace)
    except RequestInvalid as absent:
        pytest.skip(str(absent))
    requests = list(arrivals(SWING))
    dues = [request.due_s for request in requests]
    assert dues == sorted(dues)
    assert [request.index for request in requests] == list(range(len(requests)))
    assert sum(due < 120 for due in dues) == pytest.approx(300, abs=60)
    assert sum(240 <= due < 300 for due in dues) == pytest.approx(1500, abs=130)
    assert len({request.prompt_tokens for request in requests}) > 100


def test_only_the_number_of_gpus_that_was_asked_for_has_a_target():
    """Others are results of their own, for with fewer less can be left idle."""
    assert (name_of(Namespace(gpus=4)), name_of(Namespace(gpus=2))) == ("gpu.parallel_swing", "gpu.parallel_swing_tp2")
    four, two = (rows_of(arm(1.0), arm(0.4), gpus)[0] for gpus in (4, 2))
    assert (four.value, four.met, four.target) == (0.4, False, "<= 0.35")
    assert (two.value, two.met) == (0.4, None)
