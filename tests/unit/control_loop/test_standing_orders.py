"""What holds until somebody says otherwise, and what a governor's knobs have to do with it."""

from __future__ import annotations

import pytest

from reconfigure_daemon.control_loop.standing_orders import StandingOrders
from reconfigure_policies.decision.canary import Judgement, Verdict
from reconfigure_policies.decision.redeciding import after_canary_decision
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.decision import (
    Author,
    Decision,
    DecisionKind,
    Outcome,
    OutcomeKind,
    Snapshot,
)
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.domain.history import DecisionRecord
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective

SPACE = ConfigurationSpace(
    (
        Knob("pacing_interval_s", Tier.HOT, (0.0, 0.03, 0.12), 0.0),
        Knob("max_num_batched_tokens", Tier.HOT, (512, 2048, 8192), 8192),
        Knob("block_size", Tier.COLD, (16, 32), 16),
    )
)
ASKED = SPACE.default()
MOVED = ASKED.with_changes({"pacing_interval_s": 0.12, "max_num_batched_tokens": 512})


class Forgetful:
    """A journal that keeps nothing."""

    async def save_state(self, state):
        pass


@pytest.fixture
async def governed():
    """Orders of which a governor has moved two knobs."""
    orders = StandingOrders(Forgetful(), Objective.ENERGY)
    await orders.found(ASKED)
    await orders.govern(["pacing_interval_s", "max_num_batched_tokens"])
    return orders


async def test_what_a_canary_goes_back_to_is_what_was_asked_for(governed):
    """The governor's values of that moment do not become an operator's."""
    to = ASKED.with_changes({"block_size": 32, "pacing_interval_s": 0.03})
    expected = {"energy_per_output_token_j": Estimate(1, 1, 1)}
    redeploy = Decision(
        DecisionKind.REDEPLOY, "r", to, {"pacing_interval_s": 0.03}, {"block_size": 32}, author=Author.PLANNER,
        expected=expected,
    )  # fmt: skip
    await governed.follow(DecisionRecord(1, 0.0, redeploy, MOVED, Outcome(OutcomeKind.APPLIED, "", to, 1.0), 1.0))
    seen = Snapshot(2.0, to, Objective.ENERGY, ServiceLevelObjective())
    back = after_canary_decision(Judgement(Verdict.FELL_SHORT, "w"), seen, SPACE, governed.state.own)
    assert back.target == ASKED


async def test_a_knob_that_is_off_keeps_what_was_asked_of_it(governed):
    """An engine is found while one of the space's knobs cannot be read."""
    readable = {name: value for name, value in MOVED.items() if name != "pacing_interval_s"}
    await governed.found(Configuration(readable), set(ASKED))
    assert (governed.state.target, governed.state.governed) == (ASKED, {"pacing_interval_s", "max_num_batched_tokens"})


async def test_another_configuration_is_a_new_beginning(governed):
    """Whoever set a knob that is not the governor's has set them all."""
    found = MOVED.with_changes({"block_size": 32})
    await governed.found(found, set(ASKED))
    assert (governed.state.target, governed.state.governed) == (found, frozenset())


async def test_only_what_is_as_it_was_asked_for_was_given_back(governed):
    """The rest is still the governor's."""
    await governed.gave_back({"pacing_interval_s"})
    assert governed.state.governed == {"max_num_batched_tokens"}
