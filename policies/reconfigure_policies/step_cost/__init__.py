"""What an engine step costs in seconds and joules, learned while it runs, and what a setting would cost by that."""

from reconfigure_policies.step_cost.model import StepCostModel
from reconfigure_policies.step_cost.rhythm import Setting, Workload
from reconfigure_policies.step_cost.steady_state import SteadyState, steady_state

__all__ = ["Setting", "SteadyState", "StepCostModel", "Workload", "steady_state"]
