"""Trying what is not known stays inside its budget and away from the SLO's limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.decision import DecisionTerms, redecide
from reconfigure_policies.decision.service_level import broken_limit
from reconfigure_policies.decision.slow_loop import answer
from reconfigure_policies.domain.decision import DecisionKind
from reconfigure_policies.domain.history import OwnChanges
from reconfigure_policies.domain.objective import Objective
from tests.unit.decision.forecasts import (
    CANDIDATES,
    NOW,
    PAST,
    SLO,
    SNAPSHOTS,
    SPACE,
    block,
    forecast,
    reserved_for,
    snapshot,
)

TERMS = DecisionTerms(exploration_share=0.05)
RICH = OwnChanges(used_j=1e8)


def decided(seen, own=RICH, terms=TERMS):
    return redecide("the canary ended", seen, SPACE, terms, own, PAST)


def unsure(**figures):
    """Everything is known and the same, but for blocks of 32, which may be much better or worse."""
    return tuple(forecast(each, spread=0.6 if each["block_size"] == 32 else 0.02, **figures) for each in CANDIDATES)


def test_what_may_be_much_better_is_tried():
    """With what it may save, what trying takes, and what it is watched against."""
    decision = decided(snapshot(unsure()))
    assert decision.kind is DecisionKind.EXPLORE
    assert decision.target["block_size"] == 32
    assert "which may save 60%" in decision.reason
    assert decision.expected


def test_without_a_budget_nothing_is_tried():
    """None was given, or it is spent, or trying takes more than is left."""
    for own, terms in (
        (RICH, DecisionTerms()),
        (OwnChanges(used_j=1e8, explored_j=5e6), TERMS),
        (OwnChanges(used_j=1e6), TERMS),
    ):
        assert decided(snapshot(unsure()), own, terms).kind is DecisionKind.KEEP


def test_what_is_reserved_for_another_objective_is_not_tried():
    """It may save much, and would be another objective's."""
    space = reserved_for(32, Objective.THROUGHPUT)
    decision = redecide("the canary ended", snapshot(unsure()), space, TERMS, RICH, PAST)
    assert decision.kind is DecisionKind.KEEP


def test_without_headroom_nothing_is_tried():
    """At eighty percent of a limit there is none to spare."""
    assert decided(snapshot(unsure(tpot_s=0.04))).kind is DecisionKind.KEEP


@pytest.mark.parametrize(
    ("made_at", "terms"),
    [
        ((NOW - 100,), TERMS),
        ((NOW - 3000,) * 5, TERMS),
        ((), replace(TERMS, max_switches_per_hour=0)),
    ],
    ids=["dwell", "cap", "never"],
)
def test_a_trial_that_needs_a_new_core_keeps_its_distance_too(made_at, terms):
    """To learn is no reason to redeploy more often than one may; a trial inside the core need not wait."""
    own = replace(RICH, redeploys_at=made_at)
    assert decided(snapshot(unsure()), own, terms).kind is DecisionKind.KEEP
    paced = tuple(forecast(each, spread=0.6 if each["pacing_interval_s"] else 0.02) for each in CANDIDATES)
    decision = decided(snapshot(paced), own, terms)
    assert decision.kind is DecisionKind.EXPLORE
    assert not decision.cold


def test_a_trial_that_must_wait_is_thought_of_again():
    """When the dwell is over, as with any redeploy; never where none is allowed."""
    own = replace(RICH, redeploys_at=(NOW - 100,))
    waiting = answer("the canary ended", snapshot(unsure()), SPACE, TERMS, own, PAST)
    assert waiting.again_at == NOW - 100 + TERMS.min_dwell_s
    never = replace(TERMS, max_switches_per_hour=0)
    assert answer("the canary ended", snapshot(unsure()), SPACE, never, own, PAST).again_at is None


def test_what_is_known_is_not_tried():
    """Nothing is to be learned of it."""
    assert decided(snapshot(tuple(forecast(each, spread=0.01) for each in CANDIDATES))).kind is DecisionKind.KEEP


@settings(max_examples=50)
@given(SNAPSHOTS, st.floats(0, 1e8), st.floats(0, 1e7))
def test_exploring_is_never_far_from_holding(seen, used_j, explored_j):
    """Present and target leave the headroom when the workload is busy, and the budget is not overdrawn."""
    decision = decided(seen, OwnChanges(used_j=used_j, explored_j=explored_j))
    if decision.kind is not DecisionKind.EXPLORE:
        return
    by_configuration = {each.configuration: each for each in seen.strained}
    assert broken_limit(by_configuration[seen.enforced], SLO, free=0.3) is None
    assert broken_limit(by_configuration[decision.target], SLO, sure=False, free=0.3) is None
    assert explored_j < TERMS.exploration_share * used_j


def test_it_moves_inside_the_core_where_that_is_cheaper():
    """A hot trial costs no switch."""
    forecasts = tuple(
        forecast(each, spread=0.6 if each["pacing_interval_s"] or each["block_size"] == 32 else 0.02)
        for each in CANDIDATES
    )
    decision = decided(snapshot(forecasts))
    assert decision.kind is DecisionKind.EXPLORE
    assert not decision.cold
    assert decision.target == block(16, pacing_interval_s=0.02, max_num_seqs=decision.target["max_num_seqs"])
