"""The private socket: how an engine host is commanded over HTTP on a Unix socket; `ports` names the messages."""

from pathlib import Path

from reconfigure_daemon.private_socket.faults import fault_from_json, fault_to_json
from reconfigure_daemon.private_socket.server import MAX_BODY_BYTES, serve

__all__ = ["MAX_BODY_BYTES", "fault_from_json", "fault_to_json", "serve", "socket_path"]


def socket_path(runtime: Path) -> Path:
    """Where an engine host listens inside its runtime directory."""
    return runtime / "engine-host.sock"
