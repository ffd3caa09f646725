"""The one place where objects are built and joined."""

from reconfigure_daemon.assembly.running import run

__all__ = ["run"]
