"""One tick, one decision at a time: from samples and intents to decisions, actions and their outcomes."""

from reconfigure_daemon.control_loop.calendar_watch import CalendarWatch
from reconfigure_daemon.control_loop.decisions import Decisions, Handled
from reconfigure_daemon.control_loop.engine_keeper import EngineKeeper
from reconfigure_daemon.control_loop.execution import Execution
from reconfigure_daemon.control_loop.governing import Governing, GovernorReport
from reconfigure_daemon.control_loop.intents import new_intent
from reconfigure_daemon.control_loop.loop import ControlLoop
from reconfigure_daemon.control_loop.outlook import Outlook
from reconfigure_daemon.control_loop.redeciding import Redeciding
from reconfigure_daemon.control_loop.sampling import Sampler
from reconfigure_daemon.control_loop.standing_orders import StandingOrders

__all__ = [
    "CalendarWatch",
    "ControlLoop",
    "Decisions",
    "EngineKeeper",
    "Execution",
    "Governing",
    "GovernorReport",
    "Handled",
    "Outlook",
    "Redeciding",
    "Sampler",
    "StandingOrders",
    "new_intent",
]
