"""What is an occasion to decide again: a workload that cannot be served is one, whether or not it is called a shift."""

from __future__ import annotations

import pytest

from reconfigure_policies.decision.watch import Watch, after_window, answered
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
    missing, told = SETTLED, []
    for index in range(24):
        missing = after_window(missing, window(missed=100), OwnChanges())
        told += [index] if missing.occasion is not None else []
        missing = answered(missing)
    assert told == [1, 11, 21]


def test_it_is_decided_again_on_what_the_workload_settles_to():
    """Five minutes after the occasion, if the SLO holds again."""
    watch = answered(seen(*[window(missed=100)] * 2, watch=SETTLED))
    occasions = []
    for _ in range(12):
        watch = after_window(watch, window(), OwnChanges())
        occasions.append(watch.occasion)
        watch = answered(watch)
    assert occasions == [None] * 9 + ["the workload has settled"] + [None] * 2


def test_a_first_decision_is_made_once_enough_was_seen():
    """Two minutes of it."""
    watch, occasions = Watch(), []
    for _ in range(30):
        watch = after_window(watch, window(), OwnChanges())
        occasions.append(watch.occasion)
        watch = answered(watch)
    assert [index for index, each in enumerate(occasions) if each] == [3]
