"""Where the load goes: what climbs is expected to climb on, what has jumped or comes in bursts is not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.change_detection import ArrivalCounts, Bursts, trend_of
from reconfigure_policies.domain.workload import WorkloadWindow

LEAD_S = 40.0


def counted(rate_rps, until_s, noise=None):
    """Looks once a second at a load whose rate is a function of time."""
    arrivals, expected, count = ArrivalCounts(), 0.0, 0
    for at_s in range(int(until_s) + 1):
        arrivals = arrivals.after(float(at_s), count)
        rate = rate_rps(at_s + 0.5)
        expected += rate
        count = round(expected) if noise is None else count + round(max(0.0, noise.gauss(rate, rate**0.5)))
    return arrivals


def trend(rate_rps, until_s=200, noise=None, lead_s=LEAD_S, burstiness=1.0):
    return trend_of(counted(rate_rps, until_s, noise), lead_s, burstiness)


@given(st.floats(0.2, 0.5), st.floats(5, 10))
def test_a_load_that_climbs_is_expected_to_climb_on(per_second, at_first_rps):
    """To where it will be when a new core has booted."""
    found = trend(lambda at_s: at_first_rps + per_second * at_s, 100)
    now_rps = at_first_rps + per_second * 100
    assert found.now_rps == pytest.approx(now_rps, rel=0.05)
    assert found.then_rps == pytest.approx(now_rps + per_second * LEAD_S, rel=0.08)


@pytest.mark.parametrize("seed", range(5))
def test_a_climb_is_seen_through_the_noise_of_independent_arrivals(seed):
    """A minute into the climb of a load that grows tenfold in two minutes."""
    found = trend(lambda at_s: 2.5 + 0.1875 * max(0, at_s - 120), 185, random.Random(seed))
    assert found.then_rps > 14
    assert found.then_rps < 1.3 * (2.5 + 0.1875 * (65 + LEAD_S))


@given(st.floats(1.5, 20), st.integers(80, 300))
def test_a_load_that_jumps_is_soon_taken_for_no_more_than_it_is(factor, until_s):
    """Nothing says that it goes on; for the seconds in which it fills the last third it looks like a climb."""
    found = trend(lambda at_s: 10.0 if at_s < 80 else 10.0 * factor, until_s)
    assert found.then_rps <= 20 * factor * 1.01
    if not 100 < until_s < 125:
        assert found.then_rps <= 10 * factor * 1.01


@given(st.floats(1.5, 10), st.floats(5, 20))
def test_a_burst_is_over_before_it_is_a_trend(factor, length_s):
    """One that lasts less than a third of a minute leaves no trace, neither while it lasts nor afterwards."""
    for until_s in range(200, 280, 3):
        found = trend(lambda at_s: 10.0 * (factor if 200 < at_s <= 200 + length_s else 1), until_s)
        assert found.then_rps <= 10 + 10 * (factor - 1) * 0.51


@pytest.mark.parametrize("rate_rps", [1, 5, 25, 100])
def test_a_steady_load_goes_nowhere(rate_rps):
    """For hours; by chance a few looks in a hundred expect more than its own scatter."""
    noise, arrivals, count, beyond, looks = random.Random(rate_rps), ArrivalCounts(), 0, 0, 0
    for at_s in range(20_000):
        count += round(max(0.0, noise.gauss(rate_rps, rate_rps**0.5)))
        arrivals = arrivals.after(float(at_s), count)
        found = trend_of(arrivals, LEAD_S)
        if found is not None:
            looks += 1
            beyond += found.then_rps - found.error_rps > rate_rps + 2.33 * (rate_rps / 30) ** 0.5
    assert looks > 19_000
    assert beyond / looks < 0.02


def test_what_falls_is_taken_as_it_is():
    """A load that goes down may stop going down."""
    found = trend(lambda at_s: 50 - 0.2 * at_s)
    assert found.then_rps == found.now_rps
    assert found.now_rps >= 10


def test_bursty_traffic_makes_it_less_sure():
    """As windows have shown."""
    calm, bursty = (trend(lambda _: 10.0, burstiness=burstiness) for burstiness in (1.0, 9.0))
    assert bursty.error_rps == pytest.approx(3 * calm.error_rps)


@pytest.mark.parametrize("until_s", [0, 20, 55])
def test_too_little_says_nothing(until_s):
    """Less than a minute."""
    assert trend(lambda _: 10.0, until_s) is None


def test_nothing_that_arrives_says_nothing():
    """A night without requests."""
    assert trend(lambda _: 0.0) is None


@pytest.mark.parametrize("later", [(500.0, 3000), (199.0, 3000), (205.0, 1999)], ids=["pause", "clock", "counter"])
def test_after_a_pause_or_with_another_counter_it_begins_anew(later):
    """What was counted before is of another time, or of another engine."""
    arrivals = counted(lambda _: 10.0, 200)
    assert arrivals.counts[-1] == 2000
    assert arrivals.after(*later) == ArrivalCounts((later[0],), (later[1],))


def windows(counts):
    return [WorkloadWindow(30.0 * n, 30.0, c, c, c, 100 * c, 0, 10 * c, 0, 1.0, 0.0) for n, c in enumerate(counts)]


def bursts_of(counts):
    bursts = Bursts()
    for each in windows(counts):
        bursts = bursts.after(each)
    return bursts


def test_a_load_that_goes_up_is_none_that_comes_in_bursts():
    """Nor is one that goes down, nor one of which nothing was seen."""
    assert bursts_of(range(100, 4000, 100)).over(1000) == 1.0
    assert bursts_of(range(4000, 100, -100)).over(1000) == 1.0
    assert Bursts().over(1000) == bursts_of([5, 5000]).over(1000) == 1.0


@pytest.mark.parametrize(("times", "seed"), [(1, 1), (9, 2), (27, 3)])
def test_bursts_are_told_by_how_windows_scatter(times, seed):
    """Where each request brings others along, a count has that many times the variance of its mean."""
    noise = random.Random(seed)
    counts = [times * round(max(0.0, noise.gauss(100, 10))) for _ in range(200)]
    assert bursts_of(counts).over(100 * times) == pytest.approx(times, rel=0.6)
