"""Has the workload shifted? Windows in, a shift in words out; the state is explicit and nothing else is kept."""

from reconfigure_policies.change_detection.contexts import busiest_context, usual_context
from reconfigure_policies.change_detection.detection import ShiftState, detect

__all__ = ["ShiftState", "busiest_context", "detect", "usual_context"]
