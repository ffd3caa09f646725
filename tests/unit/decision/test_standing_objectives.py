from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import after_expiry, is_over, reached, rolled_back, with_objective
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.objective import CoveredObjective, Objective

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
    in_force = holds[: still[-1] + 1] if still else []
    outlasting = [
        until for n, (_, until) in enumerate(in_force) if until > max((u for _, u in in_force[n + 1 :]), default=0)
    ]
    assert [each.until for each in after.covered] == ([None, *outlasting[:-1]] if still else [])
    assert after.objective == (holds[still[-1]][0] if still else START.objective)
    assert configuration == under(still[-1] + 1 if still else 0)


def test_an_objective_that_is_renewed_each_hour_covers_one_thing():
    """A year of `--for 8h` once an hour piles nothing up, in force or for rollbacks, and ends in what was before."""
    state = reached(START, WIDE)
    for hour in range(24 * 365):
        state = reached(with_objective(state, Objective.ENERGY, 3600.0 * (hour + 8), WIDE), under(hour % 30))
    assert len(state.covered) == 1
    assert max(len(applied.covered) for applied in state.previous) == 1
    after, configuration = after_expiry(state, 3600.0 * 24 * 366)
    assert (after.objective, after.objective_until, after.covered, configuration) == (
        Objective.THROUGHPUT,
        None,
        (),
        WIDE,
    )


def test_what_piled_up_in_an_older_store_ends_too():
    """Earlier versions kept every renewal; however many there are, all of them end."""
    pile = tuple(CoveredObjective(Objective.ENERGY, float(hour), WIDE) for hour in range(5000))
    lasting = CoveredObjective(Objective.BALANCED, None, NARROW)
    state = replace(START, objective=Objective.ENERGY, objective_until=5000.0, covered=(lasting, *pile))
    assert after_expiry(state, 5000.0) == (ControllerState(Objective.BALANCED), NARROW)


def test_a_rollback_brings_the_objective_of_its_configuration_back_and_a_second_one_undoes_it():
    """Whatever was in force under a configuration is in force again, temporary or not, with what it covers."""
    wide = reached(START, WIDE)
    narrow = reached(with_objective(wide, Objective.ENERGY, 100.0, WIDE), NARROW)
    back = reached(rolled_back(narrow, WIDE, 50.0), WIDE)
    assert (back.objective, back.objective_until, back.covered) == (Objective.THROUGHPUT, None, ())
    again = rolled_back(back, NARROW, 60.0)
    assert (again.objective, again.objective_until, again.covered) == (Objective.ENERGY, 100.0, narrow.covered)


def test_a_rollback_does_not_bring_back_an_objective_whose_time_is_over():
    """The configuration returns; the objective in force stays."""
    narrow = reached(with_objective(reached(START, WIDE), Objective.ENERGY, 100.0, WIDE), NARROW)
    ended = reached(after_expiry(narrow, 100.0)[0], WIDE)
    assert rolled_back(ended, NARROW, 101.0) == ended


def test_the_latest_objective_of_a_configuration_is_the_one_that_counts():
    """An objective whose configuration was enforced already takes the place of the one before it."""
    state = reached(replace(reached(START, WIDE), objective=Objective.BALANCED), WIDE)
    assert [applied.objective for applied in state.previous] == [Objective.BALANCED]
    assert rolled_back(replace(state, objective=Objective.ENERGY), WIDE, 0.0).objective is Objective.BALANCED


def test_a_configuration_from_another_space_is_known_by_the_knobs_it_has():
    """A knob that came or went since does not hide under which objective the rest was applied."""
    older = reached(replace(START, objective=Objective.ENERGY), Configuration({"max_num_seqs": 64, "gone": 1}))
    today = Configuration({"max_num_seqs": 64, "block_size": 16})
    assert rolled_back(replace(older, objective=Objective.BALANCED), today, 0.0).objective is Objective.ENERGY
