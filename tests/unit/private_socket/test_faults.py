"""An error crosses the private socket as itself."""

from __future__ import annotations

import json

import pytest

from reconfigure_daemon import errors
from reconfigure_daemon.private_socket import fault_from_json, fault_to_json
from reconfigure_daemon.private_socket.faults import PLAIN_FAULTS
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace


@pytest.mark.parametrize(
    "error",
    [
        *(kind("what was found; what to do") for kind in PLAIN_FAULTS),
        errors.ActionInProgress("switch", 12.5, "a switch runs since 12.5"),
        errors.SettingsInvalid(["config.yaml:3: no", "config.yaml:4: no"]),
        ConfigurationOutsideSpace(["there is no knob 'x'", "y=3 is outside the space"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_named_error_arrives_with_its_facts(error):
    """Class, message and every attribute survive the way through JSON."""
    status, body = fault_to_json(error)
    arrived = fault_from_json(json.loads(json.dumps(body)))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert 400 <= status < 600


def test_an_unforeseen_error_is_a_fault_of_the_host():
    """Its own words are kept; its traceback is not sent."""
    status, body = fault_to_json(ZeroDivisionError("division by zero"))
    assert status == 500
    assert body == {
        "error": {
            "kind": "engine_host_fault",
            "message": "the engine host failed: ZeroDivisionError: division by zero",
        }
    }


@pytest.mark.parametrize("body", [None, "no", [], {}, {"error": "no"}, {"error": {"kind": "new", "message": "m"}}])
def test_what_is_not_understood_is_a_fault_too(body):
    """A newer host's error kinds, or no error at all, become an EngineHostFault."""
    assert isinstance(fault_from_json(body), errors.EngineHostFault)
