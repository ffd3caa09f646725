"""Counters and power samples become joules that only grow."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.metering.ledger import CounterDifference, DeviceLedger, PowerIntegral
from reconfigure_policies.domain.energy import EnergySource


@given(st.lists(st.floats(0, 1e15), min_size=2), st.none() | st.floats(1, 1e6))
def test_joules_never_decrease_whatever_the_counter_does(counters: list[float], range_j: float | None) -> None:
    """No sequence of counter values, wrapping, resetting or jumping, makes the ledger go back."""
    difference, ledger = CounterDifference(range_j), DeviceLedger("gpu0")
    readings = [
        ledger.book(at_s, difference.step(at_s, counter), EnergySource.MEASURED)
        for at_s, counter in enumerate(counters)
    ]
    assert all(before.energy_j <= after.energy_j for before, after in pairwise(readings))


@given(st.lists(st.floats(0, 700), min_size=1))
def test_a_steady_counter_loses_nothing(steps_j: list[float]) -> None:
    """The ledger's joules are the counter's whole growth."""
    difference, ledger, counter_j = CounterDifference(), DeviceLedger("gpu0"), 1000.0
    reading = ledger.book(0, difference.step(0, counter_j), EnergySource.MEASURED)
    for at_s, step_j in enumerate(steps_j, start=1):
        counter_j += step_j
        reading = ledger.book(at_s, difference.step(at_s, counter_j), EnergySource.MEASURED)
    assert reading.energy_j == pytest.approx(counter_j - 1000)


def test_a_burst_within_one_counter_step_is_believed() -> None:
    """Two readings a millisecond apart may differ by the counter's whole 100 ms step."""
    difference = CounterDifference()
    difference.step(0, 0)
    assert difference.step(0.001, 70) == 70


def test_constant_power_integrates_to_power_times_time() -> None:
    """The integral of 250 W over 4 s is 1 kJ, however it is sampled."""
    integral = PowerIntegral()
    assert sum(integral.step(at_s, 250) for at_s in (0, 0.5, 3, 4)) == 1000


def test_power_is_not_averaged_over_an_unknown_stretch() -> None:
    """After an unknown reading, power is unknown until two readings in a row are known."""
    ledger = DeviceLedger("gpu0")
    powers = [
        ledger.book(at_s, step_j, EnergySource.MEASURED).power_w for at_s, step_j in enumerate([0, 50, None, 0, 60])
    ]
    assert powers == [None, 50, None, None, 60]
