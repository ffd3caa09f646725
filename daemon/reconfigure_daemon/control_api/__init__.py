"""HTTP for operators and Prometheus: status, intents, decisions, metrics, and what was learned."""

from reconfigure_daemon.control_api.connections import allow_many_connections
from reconfigure_daemon.control_api.learning_endpoints import Learned
from reconfigure_daemon.control_api.listener import listen
from reconfigure_daemon.control_api.server import Controller, serve

__all__ = ["Controller", "Learned", "allow_many_connections", "listen", "serve"]
