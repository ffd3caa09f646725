from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import StandingObjectives
from reconfigure_policies.domain.objective import Objective

WIDE, NARROW, MIDDLE = {"max_num_seqs": 64}, {"max_num_seqs": 16}, {"max_num_seqs": 32}
HOLDS = st.lists(st.tuples(st.sampled_from(Objective), st.floats(0, 100)), max_size=5)


def stacked(holds):
    standing = StandingObjectives(Objective.THROUGHPUT)
    for number, (objective, until) in enumerate(holds):
        standing = standing.with_temporary(objective, until, {"max_num_seqs": number})
    return standing


def test_a_temporary_objective_ends_in_what_was_before():
    """At its end the lasting objective is back, with the configuration from before it."""
    standing = StandingObjectives(Objective.THROUGHPUT).with_temporary(Objective.ENERGY, 100.0, WIDE)
    assert (standing.in_force, standing.until) == (Objective.ENERGY, 100.0)
    after, before = standing.expired(100.0)
    assert (after.in_force, after.until, before) == (Objective.THROUGHPUT, None, WIDE)


def test_a_lasting_objective_clears_what_waits():
    """An objective without an end leaves nothing that could come back later."""
    standing = stacked([(Objective.ENERGY, 100.0)]).with_lasting(Objective.BALANCED)
    assert standing.expired(200.0) == (StandingObjectives(Objective.BALANCED), None)


def test_an_objective_that_ends_underneath_another_changes_nothing_now():
    """The one on top stays in force; when it ends, the configuration of the ended one does not come back."""
    standing = (
        StandingObjectives(Objective.THROUGHPUT)
        .with_temporary(Objective.ENERGY, 50.0, WIDE)
        .with_temporary(Objective.BALANCED, 100.0, NARROW)
    )
    at_50, before = standing.expired(50.0)
    assert (at_50.in_force, before) == (Objective.BALANCED, None)
    at_100, before = at_50.expired(100.0)
    assert (at_100.in_force, before) == (Objective.THROUGHPUT, WIDE)


def test_the_top_ending_first_returns_to_the_temporary_objective_underneath():
    """An objective for one hour inside one for eight gives way to the eight-hour one."""
    standing = (
        StandingObjectives(Objective.THROUGHPUT)
        .with_temporary(Objective.ENERGY, 100.0, WIDE)
        .with_temporary(Objective.BALANCED, 50.0, NARROW)
    )
    after, before = standing.expired(50.0)
    assert (after.in_force, after.until, before) == (Objective.ENERGY, 100.0, NARROW)


@given(HOLDS, st.floats(0, 100))
def test_expiry_keeps_exactly_what_has_not_ended(holds, now):
    """Nothing that ended stays, nothing else goes, and a return is named only if the one in force ended."""
    after, before = stacked(holds).expired(now)
    assert [(h.objective, h.until) for h in after.temporary] == [(o, u) for o, u in holds if u > now]
    assert (before is not None) == (bool(holds) and holds[-1][1] <= now)


@given(HOLDS, st.lists(st.floats(0, 100), max_size=4))
def test_expiry_in_steps_equals_expiry_at_once(holds, times):
    """It does not matter how often the clock is looked at, only how far it has gone."""
    standing = stacked(holds)
    for now in sorted(times):
        standing, _ = standing.expired(now)
    assert standing == (stacked(holds).expired(max(times))[0] if times else stacked(holds))
