"""From a snapshot to a decision: objectives, named configurations, guardrails."""

from reconfigure_policies.decision.guardrails import Move, completed, move_between
from reconfigure_policies.decision.intents import IntentRefused, decide
from reconfigure_policies.decision.planning import Plan, plan
from reconfigure_policies.decision.standing_objectives import StandingObjectives, TemporaryObjective

__all__ = [
    "IntentRefused",
    "Move",
    "Plan",
    "StandingObjectives",
    "TemporaryObjective",
    "completed",
    "decide",
    "move_between",
    "plan",
]
