"""Has the workload shifted, does the load climb? Windows and counts in, words out; the state is explicit."""

from reconfigure_policies.change_detection.bursts import Bursts
from reconfigure_policies.change_detection.climbing import ArrivalCounts, Trend, trend_of
from reconfigure_policies.change_detection.contexts import busiest_ahead_rps, busiest_context, usual_context
from reconfigure_policies.change_detection.detection import ShiftState, detect

__all__ = [
    "ArrivalCounts",
    "Bursts",
    "ShiftState",
    "Trend",
    "busiest_ahead_rps",
    "busiest_context",
    "detect",
    "trend_of",
    "usual_context",
]
