"""From a snapshot to a decision: objectives, named configurations, guardrails."""

from reconfigure_policies.decision.guardrails import Move, completed, move_between
from reconfigure_policies.decision.intents import IntentRefused, decide
from reconfigure_policies.decision.planning import Plan, plan
from reconfigure_policies.decision.standing_objectives import (
    after_expiry,
    is_over,
    reached,
    rolled_back,
    with_objective,
)

__all__ = [
    "IntentRefused",
    "Move",
    "Plan",
    "after_expiry",
    "completed",
    "decide",
    "is_over",
    "move_between",
    "plan",
    "reached",
    "rolled_back",
    "with_objective",
]
