"""Percentiles and ratios of paired runs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.rows import interval_rows
from benchmarks.harness.statistics import paired_ratio, percentile

RUNS = st.lists(st.floats(min_value=0.1, max_value=1000), min_size=2, max_size=12)


def test_a_percentile_lies_between_its_neighbours():
    """In any order, linear between two values, and None without any."""
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([0, 10], 0.25) == 2.5
    assert percentile([], 0.5) is None


def test_a_drift_that_both_arms_share_cancels():
    """A machine that becomes three times slower from pair to pair leaves the ratio alone."""
    theirs = [100.0, 50.0, 30.0]
    found = paired_ratio([0.98 * value for value in theirs], theirs)
    assert found.median == pytest.approx(0.98)
    assert (found.low, found.high) == (pytest.approx(0.98), pytest.approx(0.98))
    assert found.pairs == 3


@settings(deadline=None, max_examples=25)  # a busy machine is no fault
@given(ours=RUNS)
def test_the_interval_holds_the_median(ours):
    """Whatever the runs, the interval lies around the median and inside the runs."""
    found = paired_ratio(ours, [1.0] * len(ours))
    assert min(ours) <= found.low <= found.median <= found.high <= max(ours)


def test_the_same_runs_give_the_same_interval():
    """The resampling is seeded."""
    runs = [1.0, 1.1, 0.9, 1.05, 0.97]
    assert paired_ratio(runs, [1.0] * 5) == paired_ratio(runs, [1.0] * 5)


def test_few_pairs_have_a_range_and_no_interval():
    """The median of five lies among them with 94 % at most."""
    five, six = (paired_ratio(list(range(1, count + 1)), [1.0] * count) for count in (5, 6))
    assert (five.low, five.high, five.has_interval, six.has_interval) == (1, 5, False, True)
    assert [row.what for row in interval_rows(five, "joules")] == ["joules: least pair", "joules: highest pair"]
    assert [row.what for row in interval_rows(six)] == ["95% interval, low", "95% interval, high"]


def test_more_pairs_narrow_the_interval():
    """Forty pairs say more than five of the same spread."""
    five = [0.9, 0.95, 1.0, 1.05, 1.1]
    few, many = paired_ratio(five, [1.0] * 5), paired_ratio(five * 8, [1.0] * 40)
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0])])
def test_an_unpaired_run_is_refused(ours, theirs):
    """Each pair needs one run of both arms."""
    with pytest.raises(ValueError, match="each pair needs one of both arms"):
        paired_ratio(ours, theirs)
