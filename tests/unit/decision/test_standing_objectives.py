from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import after_expiry, is_over, with_objective
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.objective import Objective

START = ControllerState(Objective.THROUGHPUT)
WIDE, NARROW = Configuration({"max_num_seqs": 64}), Configuration({"max_num_seqs": 16})
HOLDS = st.lists(st.tuples(st.sampled_from(Objective), st.floats(0, 100)), min_size=1, max_size=5)


def under(number):
    return Configuration({"max_num_seqs": number})


def stacked(holds):
    """Temporary objectives over each other; under the n-th of all, configuration n was enforced."""
    state = START
    for number, (objective, until) in enumerate(holds):
        state = with_objective(state, objective, until, under(number))
    return state


def test_a_temporary_objective_ends_in_what_was_before():
    """At its end the lasting objective is back, with the configuration from before it."""
    state = with_objective(START, Objective.ENERGY, 100.0, WIDE)
    assert (state.objective, state.objective_until) == (Objective.ENERGY, 100.0)
    assert not is_over(state, 99.9)
    assert is_over(state, 100.0)
    assert after_expiry(state, 100.0) == (START, WIDE)


def test_a_lasting_objective_leaves_nothing_that_could_come_back():
    """An objective without an end replaces temporary ones, and never ends."""
    state = with_objective(stacked([(Objective.ENERGY, 100.0)]), Objective.BALANCED, None, NARROW)
    assert state == ControllerState(Objective.BALANCED)
    assert not is_over(state, 1e12)


def test_the_start_is_never_over():
    """Without a temporary objective there is nothing to expire."""
    assert not is_over(START, 1e12)


def test_a_short_objective_gives_way_to_the_longer_one_it_covers():
    """An objective for one hour inside one for eight returns to the eight-hour one."""
    state = stacked([(Objective.ENERGY, 100.0), (Objective.BALANCED, 50.0)])
    state, configuration = after_expiry(state, 50.0)
    assert (state.objective, state.objective_until, configuration) == (Objective.ENERGY, 100.0, under(1))


def test_a_covered_objective_that_ended_meanwhile_is_passed_by():
    """The configuration of an objective that is over does not come back."""
    state = stacked([(Objective.ENERGY, 50.0), (Objective.BALANCED, 100.0)])
    assert not is_over(state, 50.0)
    assert after_expiry(state, 100.0) == (START, under(0))


@given(HOLDS, st.floats(0, 200))
def test_expiry_ends_in_the_latest_objective_that_has_not_ended(holds, now):
    """Whatever the order of ends, what is in force afterwards has not ended, and nothing covered by it is lost."""
    state = stacked(holds)
    if not is_over(state, now):
        assert holds[-1][1] > now
        return
    after, configuration = after_expiry(state, now)
    still = [number for number, (_, until) in enumerate(holds) if until > now]
    assert len(after.covered) == (still[-1] + 1 if still else 0)
    assert after.objective == (holds[still[-1]][0] if still else START.objective)
    assert configuration == under(still[-1] + 1 if still else 0)
