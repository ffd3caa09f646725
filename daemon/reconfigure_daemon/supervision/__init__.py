"""What keeps the daemon alive and ends it in order: guarded tasks, signals, systemd's notifications, one instance."""

from reconfigure_daemon.supervision.guarded_tasks import BackOff, GuardedTask, run_guarded
from reconfigure_daemon.supervision.sd_notify import Notifier
from reconfigure_daemon.supervision.shutdown import Shutdown, StopCause
from reconfigure_daemon.supervision.single_instance import single_instance

__all__ = ["BackOff", "GuardedTask", "Notifier", "Shutdown", "StopCause", "run_guarded", "single_instance"]
