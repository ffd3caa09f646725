from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import move_between, plan
from reconfigure_policies.domain.configuration import ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.history import SwitchMeasurement

SPACE = ConfigurationSpace(
    (Knob("max_num_seqs", Tier.HOT, (16, 32, 64), 64), Knob("block_size", Tier.COLD, (16, 32), 16))
)
COLD = move_between(SPACE, SPACE.default(), {"block_size": 32, "max_num_seqs": 16})
HOT = move_between(SPACE, SPACE.default(), {"max_num_seqs": 16})
NOTHING = move_between(SPACE, SPACE.default(), {})


def switch(duration_s, mode="overlapped", **measurements):
    return SwitchMeasurement(0.0, mode, duration_s, measurements)


def test_a_cold_plan_tells_the_medians_of_switches_of_its_mode():
    """Duration, stall and energy are medians over switches done the same way, and the basis says over how many."""
    past = [
        switch(4.0, stall_p95_s=0.05, energy_j=100.0),
        switch(6.0, stall_p95_s=0.07, energy_j=300.0),
        switch(8.0, energy_j=200.0),
        switch(90.0, mode="sequential", stall_p95_s=30.0),
    ]
    told = plan(COLD, "overlapped", past, live_requests=12)
    assert (told.duration_s, told.stall_s, told.energy_j) == (6.0, pytest.approx(0.06), 200.0)
    assert told.basis == "median of 3 overlapped switches"
    assert told.sentences == [
        "Redeploy for block_size from 16 to 32 (cold), max_num_seqs from 64 to 16 (hot): a new core takes over "
        "(overlapped).",
        "12 live requests move to the new core.",
    ]


def test_without_a_measured_switch_nothing_is_promised():
    """No number is made up: the expectation is unknown and says why."""
    told = plan(COLD, "sequential", [switch(4.0)], live_requests=1)
    assert (told.duration_s, told.stall_s, told.energy_j) == (None, None, None)
    assert told.basis == "no sequential switch measured yet"
    assert told.sentences[1:] == ["1 live request moves to the new core."]


def test_estimated_joules_are_called_estimated():
    """Where no counter exists the plan does not pass an estimate off as a measurement."""
    told = plan(COLD, "overlapped", [switch(4.0, energy_j=10.0, energy_estimated=1.0)], 0)
    assert told.basis == "median of 1 overlapped switch; joules are estimated, not measured"


@given(st.lists(st.floats(0.1, 100).map(switch)))
def test_a_hot_plan_has_neither_mode_nor_cost(past):
    """Hot knobs need no switch, so past switches say nothing of them."""
    told = plan(HOT, "overlapped", past, 3)
    assert (told.mode, told.duration_s, told.stall_s, told.energy_j) == (None, None, None, None)
    assert told.sentences == ["Adjust max_num_seqs from 64 to 16 (hot) inside the running core; no stream stalls."]


def test_a_plan_without_changes_says_so():
    """Asking for what is there already is answered as such."""
    assert plan(NOTHING, None, [], 0).sentences == ["Nothing changes: this is what the engine enforces already."]
