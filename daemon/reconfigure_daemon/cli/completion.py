"""Completion of knob names from the running daemon; silent where there is none."""

from __future__ import annotations

import os
from pathlib import Path

from reconfigure_daemon.cli.control_api_client import DEFAULT_URL, ControlApiClient, read_token
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_policies.domain.configuration import format_value


def complete_assignment(incomplete: str) -> list[str]:
    """The knobs that begin with what was typed, each with its present value: `block_size=32`."""
    token_file = os.environ.get("RECONFIGURE_TOKEN_FILE")
    try:
        token = read_token(Path(token_file) if token_file else None)
        status = ControlApiClient(os.environ.get("RECONFIGURE_URL", DEFAULT_URL), token).get("/v1/status")
    except (ReconfigureError, OSError):
        return []
    target = status.get("target", {}) if isinstance(status, dict) else {}
    knobs = {name: format_value(value) for name, value in target.items()}
    return [f"{name}={value}" for name, value in knobs.items() if name.startswith(incomplete)]
