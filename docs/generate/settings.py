"""The reference of settings: every key of `config.yaml`, from its schema and from the file that explains it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from reconfigure_daemon.settings.model import KnobSettings, Settings
from reconfigure_daemon.settings.reload import COLD_KEYS
from reconfigure_policies.domain.configuration import format_value

PROJECT = Path(__file__).resolve().parents[2]

_HEAD = """\
# Settings

Every key of `config.yaml`, written from the code by `make docs`. The file itself documents them in place;
`reconfigure config check` finds every fault that can be found without vLLM, each with its line. Unknown keys are
refused. A variable named as shown takes a key's place for the process that has it; its value is read as YAML.
*Restart*: the key is read once, at start; all others are read again on `SIGHUP` (`systemctl reload reconfigure`)."""

_KEY = re.compile(r"^(?P<indent> *)(?P<name>[a-z_0-9]+):")


def page() -> str:
    """The page's text."""
    meanings = comments((PROJECT / "config.yaml").read_text("utf-8"))
    return "\n".join([_HEAD, *_sections(meanings), ""])


def _sections(meanings: dict[str, str]) -> Iterator[str]:
    top = []
    for name, field in Settings.model_fields.items():
        section = _section(field)
        if section is None and name != "space":
            top.append((name, field))
            continue
        yield f"\n## {name}\n"
        if text := meanings.get(name):
            yield f"{text}\n"
        yield from _table(name if section else "space.KNOB", section or KnobSettings, meanings)
    yield "\n## Keys without a section\n"
    yield from _rows([(name, name, field) for name, field in top], meanings)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(prefix: str, section: type[BaseModel], meanings: dict[str, str]) -> Iterator[str]:
    yield from _rows([(f"{prefix}.{name}", name, field) for name, field in section.model_fields.items()], meanings)


def _rows(keys: list[tuple[str, str, FieldInfo]], meanings: dict[str, str]) -> Iterator[str]:
    yield "| key | allowed | default | meaning |"
    yield "|---|---|---|---|"
    for path, _, field in keys:
        words = [f"`{path}`"]
        if "KNOB" not in path:
            words.append(f"`RECONFIGURE_{path.upper().replace('.', '__')}`")
        if any(path == cold or path.startswith(cold + ".") for cold in COLD_KEYS) or path.startswith("space."):
            words.append("*restart*")
        meaning = meanings.get(path, "see its section")
        yield f"| {'<br>'.join(words)} | {_allowed(field)} | {_default(field)} | {meaning.replace('|', '&#124;')} |"


def _allowed(field: FieldInfo) -> str:
    """The schema of a key's value, in words."""
    schema = _schema_of(field)
    return "; ".join(_words(schema)) or "see its meaning"


def _schema_of(field: FieldInfo) -> dict[str, Any]:
    annotation: Any = field.annotation
    for metadata in field.metadata:
        annotation = Annotated[annotation, metadata]
    return TypeAdapter(annotation).json_schema()


_TYPES = {"integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false"}
_TYPES |= {"array": "a list", "object": "a block of keys", "null": "null"}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def _words(schema: dict[str, Any]) -> list[str]:
    definitions = schema.get("$defs", {})
    if "$ref" in schema:
        return _words({**definitions[schema["$ref"].rsplit("/", 1)[1]], "$defs": definitions})
    if "anyOf" in schema:
        alternatives = [word for each in schema["anyOf"] for word in _words({**each, "$defs": definitions})]
        return [" or ".join(dict.fromkeys(alternatives))]
    if "enum" in schema or "const" in schema:
        return [", ".join(f"`{format_value(value)}`" for value in schema.get("enum", [schema.get("const")]))]
    words = _TYPES.get(schema.get("type", ""), "")
    return [", ".join(filter(None, [words, *bounds_of(schema)]))] if words else []


def bounds_of(schema: Mapping[str, Any]) -> list[str]:
    """What a number of a JSON schema may be, in words."""
    return [f"{text} {schema[name]:g}" for name, text in _BOUNDS.items() if name in schema]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "none, it is required"
    if value is None:
        return "`null`"
    if isinstance(value, bool | int | float | str):
        return f"`{format_value(value)}`" if value != "" else "empty"
    if isinstance(value, Path):
        return f"`{value}`"
    return "empty" if not value else "see its meaning"


def comments(text: str) -> dict[str, str]:
    """The comment above each key of a settings file, by the key's dotted path.

    A key without one of its own that follows another key has that one's: the comment speaks of both.
    """
    found: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    last = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").removeprefix(":").strip())
        elif match := _KEY.match(line):
            indent = len(match["indent"])
            stack = [(depth, name) for depth, name in stack if depth < indent] + [(indent, match["name"])]
            path = ".".join(name for _, name in stack)
            parent = path.rpartition(".")[0]
            if comment:
                last = " ".join(filter(None, comment))
            elif last and found and list(found)[-1].rpartition(".")[0] != parent:
                last = ""
            if last:
                found[path] = last
            comment = []
        elif not stripped:
            comment = []
    return found
