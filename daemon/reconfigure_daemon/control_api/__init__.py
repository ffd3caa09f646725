"""HTTP for operators and Prometheus: status, intents, decisions, metrics."""

from reconfigure_daemon.control_api.listener import listen
from reconfigure_daemon.control_api.server import Controller, serve

__all__ = ["Controller", "listen", "serve"]
