"""From a snapshot to a decision: objectives, the best by forecasts or by name, guardrails, canaries."""

from reconfigure_policies.decision.guardrails import Move, completed, move_between
from reconfigure_policies.decision.intents import IntentRefused, decide
from reconfigure_policies.decision.planning import Plan, plan
from reconfigure_policies.decision.redeciding import redecide
from reconfigure_policies.decision.scheduled import span_due
from reconfigure_policies.decision.standing_objectives import (
    after_expiry,
    is_over,
    reached,
    rolled_back,
    with_objective,
)
from reconfigure_policies.decision.terms import DecisionTerms

__all__ = [
    "DecisionTerms",
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
    "redecide",
    "rolled_back",
    "span_due",
    "with_objective",
]
