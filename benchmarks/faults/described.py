"""Requests that schemathesis makes from the control API's own description, by it and against it."""

from __future__ import annotations

from typing import Any


def against_the_description(url: str, count: int) -> tuple[int, list[str]]:
    """Ask about `count` times, each operation alike.

    Returns:
        How many requests were sent, and each answer that the description does not allow, in words.
    """
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import openapi, serializer
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.result import Ok
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi import checks

    serializer.alias("application/x-ndjson", "text/plain")
    held = (
        not_a_server_error, checks.content_type_conformance, checks.response_schema_conformance,
        checks.status_code_conformance,
    )  # fmt: skip
    found = openapi.from_url(f"{url}/v1/openapi.json").get_all_operations()
    operations = [each.ok() for each in found if isinstance(each, Ok)]
    each_count = max(1, count // (len(operations) * len(GenerationMode)))
    sent, failures = 0, []

    def ask(operation: Any, mode: Any) -> None:
        @settings(
            max_examples=each_count, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def asked(case: Any) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(checks=held, timeout=30)

        try:
            asked()
        except Unsatisfiable:
            pass  # without parameters there is no wrong way to ask
        except BaseException as failure:  # noqa: BLE001  # schemathesis groups its failures
            failures.append(f"{operation.label}: {failure!r}"[:1000])

    for operation in operations:
        for mode in GenerationMode:
            ask(operation, mode)
    return sent, failures
