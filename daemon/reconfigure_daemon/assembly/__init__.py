"""The one place where objects are built and joined."""

from reconfigure_daemon.assembly.running import run
from reconfigure_daemon.assembly.stopping import stop

__all__ = ["run", "stop"]
