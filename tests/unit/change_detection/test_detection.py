"""A shift is named within two minutes; a day on which nothing shifts raises no alarm."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.change_detection import ShiftState, busiest_context, detect, usual_context
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.shift import WorkloadShift, kind_of_traffic
from reconfigure_policies.domain.workload import WorkloadWindow

WINDOW_S = 30.0
DAY = 2880
CHAT, CODE = (5.0, 1100, 210), (2.5, 2000, 28)


def window(index, arrivals, prompt_tokens, output_tokens):
    return WorkloadWindow(
        index * WINDOW_S, WINDOW_S, arrivals, arrivals, arrivals, prompt_tokens, 0, output_tokens, 0, 1.0, 0.0
    )


def traffic(rng, index, shape):
    """Poisson arrivals with heavy-tailed lengths: their spread is twice their mean."""
    rate_rps, prompt, output = shape
    at_s, lengths = rng.expovariate(rate_rps), []
    while at_s < WINDOW_S:
        lengths.append((rng.lognormvariate(0, 1.27) * prompt / 2.24, rng.lognormvariate(0, 1.27) * output / 2.24))
        at_s += rng.expovariate(rate_rps)
    totals = [int(sum(each)) for each in zip(*lengths, strict=True)] or [0, 0]
    return window(index, len(lengths), *totals)


def shifts_of(windows):
    state, shifts = ShiftState(), []
    for each in windows:
        state, shift = detect(state, each)
        shifts += [] if shift is None else [shift]
    return shifts


@pytest.mark.parametrize("seed", [1, 2])
def test_a_stationary_day_raises_no_alarm(seed):
    """Bursts and long prompts belong to a workload that stays what it is."""
    rng = random.Random(seed)
    assert shifts_of(traffic(rng, index, CHAT) for index in range(DAY)) == []


@pytest.mark.parametrize("seed", range(5))
def test_chat_that_becomes_code_is_named_within_two_minutes(seed):
    """With what it was, what it is, and by how much each length changed."""
    rng = random.Random(seed)
    first, *_ = shifts_of(traffic(rng, index, CHAT if index < 200 else CODE) for index in range(220))
    assert 200 * WINDOW_S < first.at_s <= 200 * WINDOW_S + 120
    assert str(first).startswith("from chat to code: ")
    assert "output length down" in str(first)
    assert first.factors["output_tokens"] == pytest.approx(28 / 210, rel=0.5)


def test_one_window_alone_is_no_shift():
    """A burst of half a minute, however large, is a burst."""
    rng = random.Random(3)
    windows = [traffic(rng, index, (50.0, 8000, 210) if index == 60 else CHAT) for index in range(120)]
    assert shifts_of(windows) == []


def test_a_slow_rise_adds_up():
    """Arrivals that triple over four hours are told on the way, none of the steps being large."""
    rng = random.Random(4)
    shifts = shifts_of(traffic(rng, index, (3.0 * 3 ** (index / 480), 1100, 210)) for index in range(600))
    assert shifts
    assert all(shift.factors.get("arrival_rate_rps", 1) > 1 for shift in shifts[:1])


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 3), max_size=30))
def test_any_windows_can_be_taken_in(figures):
    """Whatever was counted, nothing is raised, and the same windows give the same answer again."""
    windows = [window(index, *each) for index, each in enumerate(figures)]
    assert shifts_of(windows) == shifts_of(windows)


def test_the_state_before_stays_what_it_was():
    """Going on twice from one state gives the same: the detector inside is not shared."""
    rng, state = random.Random(5), ShiftState()
    for index in range(40):
        state, _ = detect(state, traffic(rng, index, CHAT))
    code = [traffic(rng, 40 + index, CODE) for index in range(4)]
    told = []
    for _ in range(2):
        going_on, shifts = state, []
        for each in code:
            going_on, shift = detect(going_on, each)
            shifts.append(shift)
        told.append(shifts)
    assert told[0] == told[1]
    assert any(told[0])


def test_the_library_is_not_loaded_before_it_is_needed():
    """A controller that has learned nothing yet, or serves nobody, pays no memory for it."""
    code = "import sys, reconfigure_policies.change_detection; sys.exit('river' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_context_is_the_means_of_its_windows():
    """Rates by time, lengths by request; the busiest is the same shape at a higher rate."""
    windows = [window(0, 30, 3000, 600), window(1, 90, 9000, 1800)]
    usual = usual_context(windows)
    assert usual == WorkloadContext(2.0, 100.0, 20.0)
    busiest = busiest_context(windows)
    assert (busiest.prompt_tokens, busiest.output_tokens) == (100.0, 20.0)
    assert busiest.arrival_rate_rps == pytest.approx((60 + 2.33 * 1800**0.5) / 30)


@pytest.mark.parametrize("windows", [[], [window(0, 0, 0, 0)], [window(0, 3, 0, 0)]])
def test_without_traffic_there_is_no_context(windows):
    """Nothing can be forecast of nothing."""
    assert usual_context(windows) is None
    assert busiest_context(windows) is None


def test_only_what_changed_is_told():
    """In the order of how much, with the factor and where it went."""
    shift = WorkloadShift(WorkloadContext(2.0, 1000, 200), WorkloadContext(2.1, 5000, 100), 0.0)
    assert str(shift) == "from chat to code: prompt length up 5x to 5e+03, output length down 2x to 100"


@pytest.mark.parametrize(("prompt", "output", "kind"), [(1155, 211, "chat"), (2048, 28, "code"), (50, 800, "writing")])
def test_traffic_is_told_by_its_shape(prompt, output, kind):
    """How much is read for what is written."""
    assert kind_of_traffic(WorkloadContext(1.0, prompt, output)) == kind
