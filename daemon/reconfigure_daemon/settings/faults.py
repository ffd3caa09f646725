"""Turns what pydantic found into sentences: what was found, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from reconfigure_daemon.durations import HOW_TO_WRITE
from reconfigure_daemon.settings.model import KnobSettings, ScheduleSettings, Settings
from reconfigure_daemon.settings.yaml_document import KeyPath
from reconfigure_policies.domain.configuration import format_value

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a text",
    "path": "a path",
    "list": "a list, e.g. [1, 2]",
    "dict": "a block of keys",
    "model": "a block of keys",
}
#: What a key counts, by the end of its name.
_UNITS = {"_s": "seconds", "_days": "days", "_w": "watts", "_gib": "GiB"}
_MISSING = {
    "values": "list the knob's values",
    "space": "name the knobs that may change",
    "cron": "say when it begins, e.g. 0 22 * * mon-fri",
    "objective": "say what it wants: energy, throughput or balanced",
}
#: What to do about a key whose kind alone does not say it.
_REMEDIES = {"lasts": HOW_TO_WRITE}
_LIMITS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_too_short": "a text that is not empty",
}


#: Blocks whose keys operators name, and what each of them holds.
_NAMED_BLOCKS: Mapping[str, type[BaseModel]] = {"space": KnobSettings, "schedules": ScheduleSettings}


@dataclass(frozen=True)
class Fault:
    """One thing to mend: at a line of the file, or in an environment variable, or about the whole file."""

    message: str
    path: KeyPath = ()
    line: int | None = None
    variable: str | None = None

    def sentence(self, file: str) -> str:
        """The fault as an operator reads it, beginning with where it is."""
        where = self.variable or (f"{file}:{self.line}" if self.line else file)
        return f"{where}: {dotted(self.path)}: {self.message}" if self.path else f"{where}: {self.message}"

    def order(self) -> tuple[bool, int, str]:
        """Sorts by line, variables last."""
        return self.variable is not None, self.line or 0, self.variable or ""


@dataclass
class Origins:
    """Where each value came from: a line of the file, or the environment variable that took its place."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    variables: dict[KeyPath, str] = field(default_factory=dict)

    def fault(self, path: KeyPath, message: str) -> Fault:
        """A fault of a value at the nearest place known to hold it or the block that lacks it."""
        prefixes = [path[:length] for length in range(len(path), -1, -1)]
        for prefix in prefixes:
            if prefix in self.variables:
                return Fault(message, path, variable=self.variables[prefix])
        line = next((self.lines[prefix] for prefix in prefixes if prefix in self.lines), 1)
        return Fault(message, path, line=line)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `space.max_num_seqs.values[2]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def path_of(error: ErrorDetails) -> KeyPath:
    """Where the error's value stands; pydantic marks a faulty key with a last `[key]`."""
    return tuple(key for key in error["loc"] if key != "[key]")


def explain(error: ErrorDetails) -> str:
    """What was found, what is allowed and what to do, for one of pydantic's errors."""
    kind, path = error["type"], path_of(error)
    if kind == "contradiction":
        return str(error["ctx"]["text"])
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return f"is missing; {_MISSING.get(str(path[-1]), 'add it')}"
    if kind == "too_short":
        return "is empty; name at least one"
    if kind == "string_pattern_mismatch":
        return f"found the name {path[-1]!r}; allowed: lower-case words joined by underscores, e.g. max_num_seqs"
    return f"found {_shown(error['input'])}; allowed: {_allowed(error)}" + _way_out(error, path)


def _allowed(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind in _LIMITS:
        return _LIMITS[kind].format(**error["ctx"])
    words = _KINDS.get(kind.split("_", maxsplit=1)[0], error["msg"])
    name = dotted(path_of(error))
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), None)
    return f"{words} of {unit}" if unit and words == "a number" else words


def _way_out(error: ErrorDetails, path: KeyPath) -> str:
    """The word that was meant, or the default to fall back to."""
    expected = error.get("ctx", {}).get("expected", "").replace("'", "").replace(" or ", ", ").split(", ")
    meant = get_close_matches(str(error["input"]), expected, n=1)
    if meant:
        return f"; did you mean {meant[0]!r}?"
    default = _default(path)
    if default is None:
        return f"; {_REMEDIES.get(str(path[-1]), 'change it')}"
    return f"; change it, or remove it for the default, {default}"


def _default(path: KeyPath) -> str | None:
    """The default of a plain key, or None for a block and for what has none."""
    fields: Mapping[str, Any] = _block(path[:-1])
    value = fields[str(path[-1])].default if path and path[-1] in fields else None
    return format_value(value) if isinstance(value, bool | int | float | str) else None


def _block(path: KeyPath) -> Mapping[str, Any]:
    """The keys that a block may have; none where operators choose the names."""
    if not path:
        return Settings.model_fields
    if path[0] in _NAMED_BLOCKS and len(path) == 2:
        return _NAMED_BLOCKS[str(path[0])].model_fields
    section = getattr(Settings.model_fields.get(str(path[0])), "annotation", None)
    return getattr(section, "model_fields", {}) if len(path) == 1 else {}


def _unknown_key(path: KeyPath) -> str:
    allowed = list(_block(path[:-1]))
    meant = get_close_matches(str(path[-1]), allowed, n=1)
    way_out = f"did you mean {meant[0]!r}?" if meant else "remove it"
    return f"found an unknown key; allowed here: {', '.join(allowed)}; {way_out}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a block of keys" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else format_value(value)
    return text if len(text) <= 60 else text[:57] + "..."
