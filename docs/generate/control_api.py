"""The reference of the control API: every path that is routed, and the JSON of every message."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Iterator
from dataclasses import fields
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

from aiohttp import web
from pydantic import BaseModel

from reconfigure_daemon.control_api import Controller, learning_messages, messages, serve

_HEAD = """\
# Control API

Every path of the control API, written from the code by `make docs`. It answers at `control_api.host` and `.port`
(`http://127.0.0.1:9400` as shipped). With a token every request but `/healthz` and `/readyz` carries
`Authorization: Bearer TOKEN`. What changes something is sent as `application/json`. A fault is
`{"error": {"kind": ..., "message": ...}}` with a status of 400 or above."""


def page() -> str:
    """The page's text."""
    return "\n".join([_HEAD, *_paths(), *_messages(messages), *_messages(learning_messages), ""])


def _paths() -> Iterator[str]:
    yield "\n## Paths\n\n| method | path | answers |\n|---|---|---|"
    for route in asyncio.run(_routes()):
        if route.method != "HEAD" and route.resource is not None:
            meaning = _first_paragraph(route.handler)
            yield f"| {route.method} | `{route.resource.canonical}` | {meaning} |"


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


def _messages(module: ModuleType) -> Iterator[str]:
    for name, form in vars(module).items():
        if not (inspect.isclass(form) and issubclass(form, BaseModel) and form.__module__ == module.__name__):
            continue
        if not form.model_fields:
            continue
        yield f"\n## {name}\n\n{_docstring(form)}\n\n| field | type | default |\n|---|---|---|"
        for key, field in form.model_fields.items():
            default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
            yield f"| `{key}` | `{_kind(field.annotation)}` | {default} |"


def _kind(annotation: Any) -> str:
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    for module in ("reconfigure_daemon.ports.", "reconfigure_policies.domain.", "typing."):
        text = text.replace(module, "")
    parts = [part.rsplit(".", 1)[-1] for part in text.replace("|", "\\|").split(" ")]
    return " ".join(parts) if "[" not in text else _short(text).replace("|", "\\|")


def _short(text: str) -> str:
    """Module names are left out of a type's words."""
    parts = text.replace("[", " [ ").replace("]", " ] ").replace(",", " , ").split()
    words = [part if "'" in part else part.rsplit(".", 1)[-1] for part in parts]
    return " ".join(words).replace(" [ ", "[").replace(" ]", "]").replace(" ,", ",")


def _docstring(thing: Any) -> str:
    """All of it, with its list of attributes as one of markdown."""
    lines = (inspect.getdoc(thing) or "").splitlines()
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
