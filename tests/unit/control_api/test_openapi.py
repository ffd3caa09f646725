"""The description says what is served, and what is served is as described: also to requests that make no sense."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from schemathesis import openapi, serializer
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reconfigure_daemon.control_api.openapi import OPERATIONS, PATH
from tests.unit.control_api.served import in_a_thread

CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance)
EXAMPLES = 12

serializer.alias("application/x-ndjson", "text/plain")


async def test_every_route_is_described(api):
    """Nothing is served that the description leaves out, but for the page, and nothing is described that is not."""
    _, described = await api.get(PATH)
    said = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    served = {
        (route.method, route.resource.canonical)
        for route in api.routes
        if route.method != "HEAD" and route.resource.canonical not in ("/", PATH)
        and not route.resource.canonical.startswith("/page/")
    }  # fmt: skip
    assert said == served
    assert served <= set(OPERATIONS)
    for methods in described["paths"].values():
        assert all(operation["summary"] for operation in methods.values())


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_is_served_is_as_described(running_api, mode):
    """Requests by the description and against it get a described answer: no 500, the right type, the right shape."""
    with in_a_thread(running_api) as url:
        schema = openapi.from_url(url + PATH)
        for operation in schema.get_all_operations():
            _hold(operation.ok(), mode)


def _hold(operation, mode):
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case):
        case.call_and_validate(checks=CHECKS, timeout=20)

    try:
        holds()
    except BaseException as error:
        if type(error).__name__ != "Unsatisfiable":  # a route without parameters cannot be asked wrongly
            raise
