"""Steps at another clock: what waits for memory stays, what computes stretches, and power above idle falls faster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.step_cost.clock import ClockScaling, ClocksTooClose

SCALINGS = st.builds(ClockScaling, st.floats(0, 1), st.floats(1, 3), st.floats(0, 150))
RATIOS = st.floats(0.2, 0.95)


@given(scaling=SCALINGS, ratio=RATIOS, seconds=st.floats(1e-3, 1), dynamic_w=st.floats(10, 600))
def test_a_fit_gives_back_what_it_was_made_of(scaling, ratio, seconds, dynamic_w):
    """Two clocks determine the model, wherever they lie."""
    joules = seconds * (scaling.idle_w + dynamic_w)
    slow = (2000 * ratio, scaling.step_s(seconds, ratio), scaling.step_j(seconds, joules, ratio))
    fitted = ClockScaling.between((2000, seconds, joules), slow, scaling.idle_w)
    assert fitted.memory_share == pytest.approx(scaling.memory_share, abs=1e-6)
    assert fitted.exponent == pytest.approx(scaling.exponent, abs=1e-6)


@given(scaling=SCALINGS, ratio=RATIOS)
def test_a_lower_clock_is_never_faster_and_never_slower_than_the_clock(scaling, ratio):
    """The stretch of a step lies between none and the clocks' own ratio."""
    assert 1 - 1e-12 <= scaling.step_s(1.0, ratio) <= 1 / ratio + 1e-12
    assert scaling.step_s(1.0, 1.0) == pytest.approx(1.0)


def test_a_step_that_waits_for_memory_saves_and_one_that_computes_may_not():
    """At half the clock a waiting step costs an eighth of its dynamic joules; a computing one pays idle power twice."""
    waiting, computing = ClockScaling(1, 3, 100), ClockScaling(0, 1, 100)
    assert waiting.step_j(1.0, 500.0, 0.5) == pytest.approx(100 + 400 / 8)
    assert computing.step_j(1.0, 500.0, 0.5) == pytest.approx(2 * (100 + 200))


@pytest.mark.parametrize("slow_mhz", [2000, 1990, 2100])
def test_clocks_that_are_one_say_nothing(slow_mhz):
    """A fit on noise is refused."""
    with pytest.raises(ClocksTooClose, match="at least 2% lower"):
        ClockScaling.between((2000, 1.0, 500.0), (slow_mhz, 1.1, 400.0), 100)


@pytest.mark.parametrize("fields", [(1.1, 2, 100), (-0.1, 2, 100), (0.5, 2, -1)])
def test_nonsense_is_refused(fields):
    """Shares are shares, and idle power is no source of power."""
    with pytest.raises(ValueError, match=r"is allowed|are allowed"):
        ClockScaling(*fields)
