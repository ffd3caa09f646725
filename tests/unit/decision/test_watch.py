"""What is an occasion to decide again: a workload that cannot be served is one, whether or not it is called a shift."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconfigure_policies.decision.watch import Watch, after_count, after_window, answered, asked_for
from reconfigure_policies.domain.history import Canary, OwnChanges
from reconfigure_policies.domain.workload import WorkloadWindow
from tests.unit.decision.forecasts import NOW, block

CANARY = Canary(7, NOW, block(32), block(16), {})


def window(missed=0, finished=100, dropped=0, aborted=0):
    met = finished - dropped - aborted - missed
    return WorkloadWindow(0, 30, finished, finished, met, 10_000, 0, 2_000, 0, 1, 0, dropped=dropped, aborted=aborted)


def seen(*windows, watch=None, own=None, detecting=True):
    for each in windows:
        watch = after_window(watch or Watch(), each, own or OwnChanges(), detecting=detecting)
    return watch


def occasions_of(watch, windows):
    """After each window, each answered at once."""
    occasions = []
    for each in windows:
        watch = after_window(watch, each, OwnChanges())
        occasions.append(watch.occasion)
        watch = answered(watch)
    return occasions


def settled(usual):
    return answered(seen(*[usual] * 20))


SETTLED = settled(window())


def test_two_windows_that_miss_the_slo_are_an_urgent_occasion():
    """It counts them, and takes those windows for the workload: what was served before need not be chosen for."""
    watch = seen(window(missed=90), window(missed=60), watch=SETTLED)
    assert watch.occasion == "150 of 200 requests missed the SLO in 60 s"
    assert watch.is_urgent
    assert watch.windows == (window(missed=90), window(missed=60))


@pytest.mark.parametrize(
    ("usual", "windows"),
    [
        (window(), [window(missed=100), window(), window(missed=100)]),
        (window(), [window(missed=25)] * 8),
        (window(finished=10), [window(missed=10, finished=10)] * 8),
        (window(), [window(missed=10, dropped=90)] * 8),
        (window(), [window(aborted=60)] * 8),
    ],
    ids=["one at a time", "what chance may do to a fifth", "too few requests", "too few that were read", "given up"],
)
def test_less_is_none(usual, windows):
    """A single burst is over before anything can be done; a handful of requests or some bad luck says nothing."""
    assert seen(*windows, watch=settled(usual)).occasion is None


def test_a_canary_is_judged_by_its_own_rules():
    """What misses the SLO while it is watched is undone by its verdict, and not decided upon twice."""
    assert seen(*[window(missed=100)] * 3, watch=SETTLED, own=OwnChanges(canary=CANARY)).occasion is None


def test_without_anything_learned_it_is_no_occasion():
    """There is nothing to choose from."""
    assert seen(*[window(missed=100)] * 3, watch=SETTLED, detecting=False).occasion is None


def test_it_is_told_once_and_again_after_five_minutes():
    """Where nothing can serve it the history does not fill up; meanwhile what was decided has its time."""
    occasions = occasions_of(SETTLED, [window(missed=100)] * 24)
    assert [index for index, each in enumerate(occasions) if each is not None] == [1, 11, 21]


def test_it_is_decided_again_on_what_the_workload_settles_to():
    """Five minutes after the occasion, if the SLO holds again."""
    watch = answered(seen(*[window(missed=100)] * 2, watch=SETTLED))
    occasions = occasions_of(watch, [window()] * 12)
    assert occasions == [None] * 9 + ["the workload has settled"] + [None] * 2


def test_a_first_decision_is_made_once_enough_was_seen():
    """Two minutes of it."""
    occasions = occasions_of(Watch(), [window()] * 30)
    assert [index for index, each in enumerate(occasions) if each] == [3]


STEADY_RPS, LEAD_S = 100 / 30, 40.0


def climbed(watch, seconds, rate_rps, detecting=True):
    """Looks once a second; returns what was seen, and the occasions with the second in which they were."""
    arrived, told = 0.0, []
    for at_s in range(seconds):
        watch = after_count(watch, float(at_s), round(arrived), LEAD_S, detecting=detecting)
        if watch.occasion is not None:
            told.append((at_s, watch))
            watch = answered(asked_for(watch, watch.busiest))
        arrived += rate_rps(at_s)
    return watch, told


DECIDED = answered(asked_for(SETTLED, SETTLED.busiest))


def ramp(at_s):
    """From the usual to ten times as much, between the second and the fourth minute."""
    return STEADY_RPS * (1 + 9 * min(max(at_s - 120, 0) / 120, 1))


def test_a_load_that_climbs_is_an_urgent_occasion_well_before_it_is_there():
    """And again on the way, each time beyond what was decided for; once it is there it is none."""
    _, told = climbed(DECIDED, 500, ramp)
    at_s, first = told[0]
    assert first.is_urgent
    assert first.occasion == f"the load climbs beyond 4.11 requests/s, {first.climb}"
    assert 120 < at_s <= 180
    assert ramp(at_s) < first.climb.then_rps <= ramp(at_s + LEAD_S) * 1.2
    assert first.usual.arrival_rate_rps == first.climb.now_rps
    assert first.busiest.arrival_rate_rps > first.climb.then_rps
    assert 2 <= len(told) <= 12
    assert told[-1][0] < 280
    last = told[-1][1]
    assert last.busiest.arrival_rate_rps > ramp(500)


@pytest.mark.parametrize(
    ("watch", "rate_rps", "detecting"),
    [
        (DECIDED, lambda _: STEADY_RPS, True),
        (DECIDED, lambda at_s: STEADY_RPS * (3 if 120 < at_s < 132 else 1), True),
        (SETTLED, ramp, True),
        (asked_for(SETTLED, replace(SETTLED.usual, arrival_rate_rps=60.0)), ramp, True),
        (DECIDED, ramp, False),
    ],
    ids=["steady", "a burst", "before any decision", "decided for more", "nothing is learned"],
)
def test_other_loads_are_none(watch, rate_rps, detecting):
    """What was decided for them still holds, or there is nothing to decide by."""
    assert climbed(watch, 400, rate_rps, detecting)[1] == []


def test_a_climb_that_is_over_before_anybody_answered_counts_no_more():
    """The occasion stays, and is decided on what windows say."""
    watch = DECIDED
    for at_s in range(0, 400, 5):
        arrived = sum(ramp(each) if each < 160 else STEADY_RPS for each in range(at_s))
        watch = after_count(watch, float(at_s), round(arrived), LEAD_S)
    assert watch.occasion is not None
    assert watch.climb is None
    assert watch.usual == SETTLED.usual


def test_what_saves_is_decided_once_the_load_has_settled():
    """Ten windows after it was last found to climb."""
    watch, _ = climbed(DECIDED, 500, ramp)
    occasions = occasions_of(watch, [window()] * 12)
    assert occasions == [None] * 9 + ["the load has settled"] + [None] * 2


def test_a_load_that_fell_counts_as_it_is_now():
    """What windows saw before is another workload: nobody waits for new ones, and later they settle it."""
    watch, told = climbed(DECIDED, 200, lambda at_s: STEADY_RPS * (0.2 if at_s > 100 else 1))
    ((at_s, first),) = told
    assert 100 < at_s < 165
    assert first.occasion == "the load fell to 0.6 requests/s"
    assert not first.is_urgent
    assert first.usual.arrival_rate_rps == pytest.approx(0.2 * STEADY_RPS, abs=0.1)
    assert first.busiest.arrival_rate_rps < STEADY_RPS
    assert len(first.windows) == 2
    assert watch.fall is None
    occasions = occasions_of(watch, [window(finished=20)] * 12)
    assert "the workload has settled" in occasions
