from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import completed, move_between
from reconfigure_policies.domain.configuration import (
    Configuration,
    ConfigurationOutsideSpace,
    ConfigurationSpace,
    Knob,
    Tier,
)
from reconfigure_policies.domain.decision import DecisionKind

SPACE = ConfigurationSpace(
    (
        Knob("max_num_seqs", Tier.HOT, (16, 32, 64), 64),
        Knob("pacing_interval_s", Tier.HOT, (0.0, 0.02), 0.0),
        Knob("block_size", Tier.COLD, (16, 32), 16),
        Knob("dtype", Tier.COLD, ("bfloat16", "float32"), "bfloat16"),
    )
)
FULL = st.fixed_dictionaries({knob.name: st.sampled_from(knob.values) for knob in SPACE.knobs})
PARTIAL = st.fixed_dictionaries({}, optional={knob.name: st.sampled_from(knob.values) for knob in SPACE.knobs})


@given(FULL, PARTIAL)
def test_target_is_the_enforced_configuration_with_exactly_the_changes(enforced, changes):
    """A move ends where the named knobs have their values and every other knob stays."""
    move = move_between(SPACE, Configuration(enforced), changes)
    assert dict(move.target) == {**enforced, **changes}


@given(FULL, PARTIAL)
def test_kind_follows_the_coldest_change(enforced, changes):
    """Nothing changes: keep. Hot only: adjust. Any cold change: redeploy, and hot changes travel along."""
    move = move_between(SPACE, Configuration(enforced), changes)
    differing = {name for name, value in changes.items() if enforced[name] != value}
    assert {**move.hot, **move.cold}.keys() == differing
    assert all(SPACE.knob(name).tier is Tier.HOT for name in move.hot)
    assert all(SPACE.knob(name).tier is Tier.COLD for name in move.cold)
    cold = any(SPACE.knob(name).tier is Tier.COLD for name in differing)
    expected = DecisionKind.REDEPLOY if cold else DecisionKind.ADJUST if differing else DecisionKind.KEEP
    assert move.kind is expected


@given(FULL, FULL)
def test_moving_twice_moves_once(enforced, target):
    """From the target of a move, the same move is `keep`."""
    move = move_between(SPACE, Configuration(enforced), target)
    assert move_between(SPACE, move.target, target).kind is DecisionKind.KEEP


@given(FULL, st.dictionaries(st.text(min_size=1), st.integers(100, 200), min_size=1))
def test_outside_the_space_is_refused_with_every_fault(enforced, wrong):
    """Unknown knobs and values that are not allowed are all named at once; nothing moves."""
    with pytest.raises(ConfigurationOutsideSpace) as caught:
        move_between(SPACE, Configuration(enforced), {**wrong, "block_size": 17})
    assert len(caught.value.faults) == len(wrong) + 1
    assert any("block_size=17 is outside the space; allowed: 16, 32" in fault for fault in caught.value.faults)


def test_a_knob_the_engine_does_not_report_does_not_force_a_new_core():
    """A host older than a knob of the space keeps running when another knob is moved."""
    move = move_between(SPACE, Configuration({"max_num_seqs": 64, "block_size": 16}), {"max_num_seqs": 32})
    assert move.kind is DecisionKind.ADJUST
    assert dict(move.hot) == {"max_num_seqs": 32}


def test_a_value_that_left_the_space_stays_until_it_is_changed():
    """An enforced value that config.yaml no longer lists is kept, because nobody asked to change it."""
    enforced = Configuration({**SPACE.default(), "block_size": 64})
    assert move_between(SPACE, enforced, {"max_num_seqs": 16}).target["block_size"] == 64


def test_completed_drops_what_is_no_knob():
    """Values that the engine reports beyond the space take no part in decisions."""
    assert completed(SPACE, {"block_size": 32, "swap_space": 4}) == SPACE.default().with_changes({"block_size": 32})


def test_a_move_reads_as_its_changes_cold_first():
    """The words name each knob with both values and its tier."""
    move = move_between(SPACE, SPACE.default(), {"max_num_seqs": 32, "block_size": 32})
    assert str(move) == "block_size from 16 to 32 (cold), max_num_seqs from 64 to 32 (hot)"
