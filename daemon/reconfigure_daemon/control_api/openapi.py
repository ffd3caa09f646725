"""The control API described, from its routes and messages, so that it says what they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from reconfigure_daemon import __version__
from reconfigure_daemon.bounds import MOST_DAYS, MOST_DECISIONS, MOST_WINDOWS
from reconfigure_daemon.control_api import learning_messages as learning
from reconfigure_daemon.control_api import messages
from reconfigure_daemon.control_api.profiles import ProfileView, ProfileWanted
from reconfigure_daemon.control_api.tuning_messages import ResumeRequest, TuningView
from reconfigure_daemon.tuning import TuneRequest

PATH = "/v1/openapi.json"

_REFERENCE = "#/components/schemas/{model}"
_NDJSON = "application/x-ndjson"


class ErrorBody(BaseModel):
    """What went wrong; further facts stand beside these two."""

    kind: str
    message: str


class ErrorAnswer(BaseModel):
    """The body of every answer with a status from 400."""

    error: ErrorBody


class Probe(BaseModel):
    """`ok`, or why not."""

    status: str


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and gives, beyond what its handler's docstring says.

    Attributes:
        answer: the message of status 200, or the content type of an answer that is no JSON.
        body: the message it takes, or the content type of a body that is no JSON; None without one.
        numbers: query parameters, all whole numbers from 1, each with its largest value.
        refusals: statuses besides 200 that its handler gives.
    """

    answer: type[BaseModel] | str
    body: type[BaseModel] | str | None = None
    numbers: Mapping[str, int | None] | None = None
    refusals: tuple[int, ...] = ()


#: Every route but this description and the page; a test holds it against the server's own table.
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/healthz"): Operation(Probe, refusals=(503,)),
    ("GET", "/readyz"): Operation(Probe, refusals=(503,)),
    ("GET", "/metrics"): Operation("text/plain"),
    ("GET", "/v1/status"): Operation(messages.StatusView),
    ("GET", "/v1/decisions"): Operation(
        messages.DecisionList, numbers={"limit": MOST_DECISIONS, "before": None}, refusals=(400,)
    ),
    ("GET", "/v1/windows"): Operation(
        messages.WindowList, numbers={"limit": MOST_WINDOWS, "after": None}, refusals=(400,)
    ),
    ("GET", "/v1/schedule"): Operation(messages.CalendarView, numbers={"days": MOST_DAYS}, refusals=(400,)),
    ("POST", "/v1/intents"): Operation(
        messages.IntentResult, messages.IntentRequest, refusals=(400, 409, 413, 502, 503, 504)
    ),
    ("POST", "/v1/profile"): Operation(ProfileView, ProfileWanted, refusals=(400, 409, 413, 502, 503, 504)),
    ("GET", "/v1/pareto"): Operation(learning.ParetoView, refusals=(409,)),
    ("GET", "/v1/explanation"): Operation(learning.ExplanationView, refusals=(409,)),
    ("GET", "/v1/surrogate"): Operation(learning.SurrogateView),
    ("GET", "/v1/tune"): Operation(TuningView, refusals=(409,)),
    ("POST", "/v1/tune"): Operation(TuningView, TuneRequest, refusals=(400, 409, 413, 502, 503, 504)),
    ("POST", "/v1/tune/resume"): Operation(TuningView, ResumeRequest, refusals=(400, 409, 413, 502, 503, 504)),
    ("POST", "/v1/tune/stop"): Operation(TuningView, refusals=(400, 409)),
    ("GET", "/v1/trials"): Operation(_NDJSON, refusals=(409,)),
    ("POST", "/v1/trials"): Operation(learning.ImportResult, _NDJSON, refusals=(400, 409, 413)),
}

#: What the guards in front of every handler answer, except to probes.
_GUARDS = (401, 403, 429)
_WORDS = {
    400: "Something of the request is wrong; the message says what, and what is allowed.",
    401: "No token, or a wrong one.",
    403: "A web page of another site could have sent this.",
    409: "It makes no sense now, e.g. while another action runs.",
    413: "The body is too large.",
    429: "Too much at once.",
    502: "The engine host failed or refused.",
    503: "Not there, or not ready.",
    504: "The engine did not answer in time.",
}


def description(routes: Iterable[web.AbstractRoute]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of the routes that are served."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = OPERATIONS.get((route.method, route.resource.canonical if route.resource else ""))
        if operation is not None and route.resource is not None:
            path = paths.setdefault(route.resource.canonical, {})
            path[route.method.lower()] = _operation(operation, route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Reconfigure's control API", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],  # asked for where `control_api.token_file` is set
    }


def _operation(operation: Operation, route: web.AbstractRoute) -> dict[str, Any]:
    summary = (route.handler.__doc__ or "").strip().partition("\n")[0]
    refusals = sorted({*operation.refusals, *_GUARDS})
    described: dict[str, Any] = {
        "summary": summary,
        "parameters": [_number(name, most) for name, most in (operation.numbers or {}).items()],
        "responses": {
            "200": {"description": summary, "content": _content(operation.answer, "serialization")},
            **{str(status): _refusal(status, operation.answer) for status in refusals},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body, "validation")}
    return described


def _number(name: str, most: int | None) -> dict[str, Any]:
    bounds = {"minimum": 1} | ({} if most is None else {"maximum": most})
    return {"name": name, "in": "query", "required": False, "schema": {"type": "integer", **bounds}}


def _content(kind: type[BaseModel] | str, mode: JsonSchemaMode) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=kind.__name__)}}}


def _refusal(status: int, answer: type[BaseModel] | str) -> dict[str, Any]:
    kind = Probe if answer is Probe and status == web.HTTPServiceUnavailable.status_code else ErrorAnswer
    return {"description": _WORDS[status], "content": _content(kind, "serialization")}


def _schemas() -> dict[str, Any]:
    """The schema of every message, by its own name."""
    wanted: dict[type[BaseModel], JsonSchemaMode] = {ErrorAnswer: "serialization"}
    for operation in OPERATIONS.values():
        if isinstance(operation.answer, type):
            wanted[operation.answer] = "serialization"
        if isinstance(operation.body, type):
            wanted[operation.body] = "validation"
    _, schemas = models_json_schema(list(wanted.items()), ref_template=_REFERENCE)
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions
