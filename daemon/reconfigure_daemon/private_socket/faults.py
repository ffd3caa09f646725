"""Errors as JSON and back, so that a fault in the engine host is the same exception in the controller."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from reconfigure_daemon.errors import (
    ActionInProgress,
    EngineHostFault,
    EngineHostUnreachable,
    EngineStartTimeout,
    EngineUnavailable,
    PortInUse,
    ReconfigureError,
    RequestInvalid,
    RequestRefused,
    SettingsInvalid,
)
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace

OUTSIDE_SPACE = "configuration_outside_space"

#: What a host raises that is made of a message alone; any other error arrives as an `EngineHostFault`.
PLAIN_FAULTS = (
    EngineHostFault,
    EngineHostUnreachable,
    EngineStartTimeout,
    EngineUnavailable,
    PortInUse,
    RequestInvalid,
    RequestRefused,
)
_BY_KIND = {error.kind: error for error in PLAIN_FAULTS}


def fault_to_json(error: Exception) -> tuple[int, dict[str, Any]]:
    """The HTTP status of an error and its body: kind, message and the facts it keeps as attributes.

    An error that nobody named is an `EngineHostFault` whose message is the error's own text; its traceback
    belongs in the log.
    """
    facts = dict(vars(error))
    if isinstance(error, ConfigurationOutsideSpace):
        return HTTPStatus.BAD_REQUEST, _body(OUTSIDE_SPACE, str(error), facts)
    if isinstance(error, ReconfigureError):
        return error.status, _body(error.kind, str(error), facts)
    message = f"the engine host failed: {type(error).__name__}: {error}".removesuffix(": ")
    return HTTPStatus.INTERNAL_SERVER_ERROR, _body(EngineHostFault.kind, message, {})


def fault_from_json(body: object) -> Exception:
    """The exception that `fault_to_json` wrote; an `EngineHostFault` for a kind or shape it does not know."""
    fault = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(fault, Mapping):
        return EngineHostFault(f"the engine host answered with something that is no fault: {body!r:.200}")
    kind, message = fault.get("kind"), str(fault.get("message", ""))
    faults = fault.get("faults")
    if kind == OUTSIDE_SPACE:
        return ConfigurationOutsideSpace(faults if isinstance(faults, list) else [message])
    if kind == SettingsInvalid.kind:
        return SettingsInvalid(faults if isinstance(faults, list) else [message])
    if kind == ActionInProgress.kind:
        return ActionInProgress(str(fault.get("action", "unknown")), float(fault.get("since", 0.0)), message)
    return _BY_KIND.get(str(kind), EngineHostFault)(message)


def _body(kind: str, message: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {**facts, "kind": kind, "message": message}}
