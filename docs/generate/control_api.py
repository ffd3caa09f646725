"""The reference of the control API: every path that is routed, and the JSON of every message, as OpenAPI has them."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any
from unittest.mock import MagicMock

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from docs.generate.settings import bounds_of
from reconfigure_daemon.control_api import Controller, openapi, serve
from reconfigure_daemon.control_api.learning_messages import TrialLine, TrialsHeader

_HEAD = """\
# Control API

Every path of the control API, written from the code by `make docs`. It answers at `control_api.host` and `.port`
(`http://127.0.0.1:9400` as shipped). With a token every request carries `Authorization: Bearer TOKEN`, but those for
`/healthz`, `/readyz` and the page's own files (`/` and `/page/...`). What changes something is sent as
`application/json`; trials are lines of JSON, a [TrialsHeader](#trialsheader) and then a [TrialLine](#trialline) each. A
fault is an [ErrorAnswer](#erroranswer) with a status of 400 or above. `/v1/openapi.json` has all of this for
programs."""

#: A type of JSON in words.
_TYPES = {"boolean": "true or false", "integer": "whole number", "number": "number", "string": "text", "null": "null"}

#: What the union of everything that a knob may be reads like.
_KNOB_VALUE = "true or false or whole number or number or text"

Schema = Mapping[str, Any]


def page() -> str:
    """The page's text."""
    routes = asyncio.run(_routes())
    described = openapi.description(routes)
    schemas = described["components"]["schemas"] | _lines_of_trials()
    return "\n".join([_HEAD, *_paths(routes, described["paths"]), *_messages(schemas), ""])


def _paths(routes: list[web.AbstractRoute], described: Mapping[str, Schema]) -> Iterator[str]:
    yield "\n## Paths\n\n| method | path | query | body | answer | meaning |\n|---|---|---|---|---|---|"
    for route in routes:
        if route.method != "HEAD" and route.resource is not None:
            path = route.resource.canonical
            operation = described.get(path, {}).get(route.method.lower(), {})
            answer = operation.get("responses", {}).get("200", {})
            query = "<br>".join(
                f"`{each['name']}`: {_kind(each['schema'])}" for each in operation.get("parameters", ())
            )
            cells = [route.method, f"`{path}`", query, _content(operation.get("requestBody", {})), _content(answer)]
            yield f"| {' | '.join([*cells, _first_paragraph(route.handler)])} |"


def _content(message: Schema) -> str:
    """The message of a body or an answer; its content type where it is no JSON."""
    for content_type, content in message.get("content", {}).items():
        return _kind(content["schema"]) if content_type == "application/json" else f"`{content_type}`"
    return ""


async def _routes() -> list[web.AbstractRoute]:
    """What the server routes, taken from one that nobody reaches."""
    controller = Controller(**{field.name: MagicMock() for field in fields(Controller)})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner = await serve(controller, listener, None)
        try:
            assert runner.app is not None
            return list(runner.app.router.routes())
        finally:
            await runner.cleanup()


def _lines_of_trials() -> dict[str, Any]:
    """What `/v1/trials` has a line each of, which OpenAPI cannot tell of a body."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (TrialsHeader, "serialization"), (TrialLine, "serialization"),
    ]  # fmt: skip
    found: dict[str, Any] = models_json_schema(wanted, ref_template="#/components/schemas/{model}")[1]["$defs"]
    return found


def _messages(schemas: Mapping[str, Schema]) -> Iterator[str]:
    for name in sorted(schemas):
        schema = schemas[name]
        yield f"\n## {name}\n\n{_docstring(schema.get('description', ''))}".rstrip()
        if "enum" in schema:
            yield f"\nOne of {_kind(schema)}."
        if properties := schema.get("properties"):
            yield "\n| field | type | default |\n|---|---|---|"
            for key, field in properties.items():
                yield f"| `{key}` | {_kind(field)} | {_default(field, key in schema.get('required', ()))} |"


def _default(field: Schema, required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(field['default'])}`" if "default" in field else "empty"


def _kind(schema: Schema) -> str:
    """A schema in words; other messages are links."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        words = " or ".join(dict.fromkeys(map(_kind, schema["anyOf"])))
        return words.replace(_KNOB_VALUE, "value of a knob")
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        parts = schema.get("prefixItems")
        return f"list of {_kind(schema.get('items', {}))}" if parts is None else f"({', '.join(map(_kind, parts))})"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {_kind(values)}" if isinstance(values, dict) else "object"
    return ", ".join([_TYPES.get(schema.get("type", ""), "anything"), *bounds_of(schema)])


def _docstring(text: str) -> str:
    """All of a docstring, with its list of attributes as one of markdown."""
    lines = text.splitlines()
    told: list[str] = []
    for line in lines:
        indented, stripped = line.startswith("    "), line.strip()
        if stripped == "Attributes:":
            continue
        if indented and not line.startswith("     "):
            name, colon, rest = stripped.partition(": ")
            told.append(f"- `{name}`: {rest}" if colon else f"- {stripped}")
        elif indented:
            told[-1] += " " + stripped
        else:
            told.append(stripped)
    return "\n".join(told).strip()


def _first_paragraph(handler: Any) -> str:
    text = (inspect.getdoc(handler) or "").split("\n\n")[0]
    return " ".join(text.split())
