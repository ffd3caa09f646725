"""Steps that decode start one interval apart on average, and no faster for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.domain.pacing import PacingClock

INTERVAL_S = 0.05


def starts_of(delays_s, interval_s=INTERVAL_S):
    """When each step started, if prompts kept it waiting for so long after it was due."""
    clock, starts_s = PacingClock(), [0.0]
    clock.batch_started(0.0, interval_s)
    for delay_s in delays_s:
        if delay_s > 0:
            clock.newcomers_started()
        starts_s.append(max(starts_s[-1], clock.due_s(interval_s)) + delay_s)
        clock.batch_started(starts_s[-1], interval_s)
    return starts_s


def test_the_first_step_is_due_at_once():
    """Nothing came before it."""
    assert PacingClock().due_s(INTERVAL_S) == -float("inf")


@given(st.lists(st.floats(0.0, INTERVAL_S), min_size=1, max_size=200))
def test_what_a_prompt_keeps_the_batch_waiting_is_made_up(delays_s):
    """However many prompts come, the last step is late by its own delay only, if none is longer than the interval."""
    starts_s = starts_of(delays_s)
    assert starts_s[-1] <= len(delays_s) * INTERVAL_S + delays_s[-1] + 1e-9


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=200))
def test_no_more_than_one_interval_is_made_up(delays_s):
    """After a long wait the batch goes on at its pace: three steps in a row take no less than one interval."""
    starts_s = starts_of([*delays_s, 0.0, 0.0])
    assert all(late - early >= INTERVAL_S - 1e-9 for early, late in zip(starts_s, starts_s[2:], strict=False))


def test_a_rest_is_not_made_up():
    """Without prompts in the way, the next step is due one interval after the last, however late that was."""
    clock = PacingClock()
    clock.batch_started(0.0, INTERVAL_S)
    clock.batch_started(10.0, INTERVAL_S)
    assert clock.due_s(INTERVAL_S) == 10.0 + INTERVAL_S
    assert not clock.held_up


def test_a_step_before_its_time_starts_the_interval_anew():
    """Where a batch goes on although it is not due, e.g. for a place in it, nothing is made up."""
    clock = PacingClock()
    clock.batch_started(0.0, INTERVAL_S)
    clock.newcomers_started()
    clock.batch_started(0.01, INTERVAL_S)
    assert clock.due_s(INTERVAL_S) == 0.01 + INTERVAL_S
