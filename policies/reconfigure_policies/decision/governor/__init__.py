"""The governor: finds and keeps the hot setting that costs the least energy inside the service level.

Pure: samples in, targets out. It feeds forward from a step-cost model that it learns on the way, is corrected by
measured tails, takes its time to slow down and none to speed up.
"""

from reconfigure_policies.decision.governor.governor import Governed, govern
from reconfigure_policies.decision.governor.limits import CLOCK, GovernorLimits, governed_knobs
from reconfigure_policies.decision.governor.sample import EngineReading, EngineSample, sample_between
from reconfigure_policies.decision.governor.state import GovernorState
from reconfigure_policies.decision.governor.view import GovernorView, stock_cost, view

__all__ = [
    "CLOCK",
    "EngineReading",
    "EngineSample",
    "Governed",
    "GovernorLimits",
    "GovernorState",
    "GovernorView",
    "govern",
    "governed_knobs",
    "sample_between",
    "stock_cost",
    "view",
]
