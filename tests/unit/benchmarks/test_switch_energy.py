"""What a switch takes beside serving: how arms take turns, and what is judged of them."""

from __future__ import annotations

import pytest

from benchmarks.gpu.switch_energy import ARMS, OURS, Measured, order_of, rows_of
from benchmarks.harness.requests import Span

JOULES = {"half of the pace": 6000.0, "no pace": 10_000.0, "the whole pace": 5000.0}


def span(good=10, failed=0):
    return Span(1000, 10, good, failed, 0.1, 0.2, 0.04, 0.045)


def rows(joules, seen=None, not_applied=()):
    seen = seen or span()
    made = [Measured(number, arm, 200.0, 0.0, 20.0, joules[arm]) for number in range(2) for arm in ARMS]
    return {row.what: row for row in rows_of(made, {arm: [seen, seen] for arm in ARMS}, not_applied)}


def test_every_round_has_every_arm_and_another_one_first():
    """The round that only warms up has one."""
    assert order_of(-1) == [OURS]
    assert {order_of(number)[0] for number in range(len(ARMS))} == set(ARMS)
    assert all(sorted(order_of(number)) == sorted(ARMS) for number in range(4))


def test_what_serving_would_have_taken_is_no_part_of_a_switch():
    """200 W for 20 s are subtracted, but for the ratio, which has them in both arms."""
    told = rows(JOULES)
    assert told["half of the pace: joules of a switch beyond serving, median"].value == 2000.0
    ratio = next(row for what, row in told.items() if what.startswith("joules of a switch, serving included, half"))
    assert (ratio.value, ratio.met) == (0.6, True)


@pytest.mark.parametrize(
    ("spoilt", "row"),
    [
        ({"joules": {**JOULES, OURS: 11_000.0}}, "joules of a switch, serving included, half of the pace"),
        ({"seen": span(good=9)}, f"{OURS}: SLO attainment"),
        ({"seen": span(failed=1)}, "requests failed"),
        ({"not_applied": ["no room"]}, "switches not applied"),
    ],
)
def test_what_falls_short_is_a_missed_target(spoilt, row):
    """A pace that saves nothing, late or failed requests, and a switch that was refused."""
    missed = [what for what, each in rows(**{"joules": JOULES, **spoilt}).items() if each.met is False]
    assert len(missed) == 1
    assert missed[0].startswith(row)
    assert all(each.met is not False for each in rows(JOULES).values())
