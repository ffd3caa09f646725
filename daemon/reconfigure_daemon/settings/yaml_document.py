"""Reads YAML 1.2's core schema into plain data and remembers the line of every key and value.

PyYAML follows YAML 1.1, where `nvml: off` is false, `010` is 8 and `1:30` is 90. Settings are written by people
who know none of this, so only `true`, `false`, `null` and decimal numbers mean anything but text here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

#: Where a value stands in a document: keys and list indexes from the top.
KeyPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_DEEPEST = 8
_TOO_DEEP = "found values nested too deeply; settings nest four deep"


class _CoreSchemaLoader(yaml.SafeLoader):
    """A safe loader that resolves plain scalars as YAML 1.2 does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own design

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases: a settings file has no use for them, and a few nested ones grow without bound."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # the stubs leave it out
            raise yaml.composer.ComposerError(None, None, "found an alias (*name); write the value out instead", mark)
        return super().compose_node(parent, index)


for _name, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
):
    _CoreSchemaLoader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: {"true": True, "false": False}[text.lower()],
    _TAG + "int": lambda text: int(text) if len(text) < 300 else _float(text),  # longer ones are refused as infinite
    _TAG + "float": _float,
    _TAG + "str": str,
}


@dataclass(frozen=True)
class YamlFault:
    """Something that YAML or this reader does not allow, with its 1-based line; `path` is () outside any key."""

    line: int
    path: KeyPath
    message: str


@dataclass
class YamlDocument:
    """Plain data, the 1-based line of every path in it, and the faults that were found on the way.

    Attributes:
        unreadable: paths whose value is None because of one of the faults.
    """

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    faults: list[YamlFault] = field(default_factory=list)
    unreadable: set[KeyPath] = field(default_factory=set)

    def give_up(self, path: KeyPath, line: int, message: str) -> None:
        """Leave None in a value's place and say why."""
        self.faults.append(YamlFault(line, path, message))
        self.unreadable.add(path)


def read_yaml(text: str) -> YamlDocument:
    """Parse a document; whatever the text is, faults are returned, not raised."""
    document = YamlDocument()
    try:
        root = yaml.compose(text, Loader=_CoreSchemaLoader)
        document.data = None if root is None else _read_node(root, (), document)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        wrong = ", ".join(part for part in (fault.context, fault.problem) if part)
        document.faults.append(YamlFault(mark.line + 1 if mark else 1, (), f"cannot be read as YAML: {wrong}"))
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        wrong = f"found the character U+{fault.character:04X}, which YAML does not allow; remove it"
        document.faults.append(YamlFault(line, (), wrong))
    except RecursionError:
        document.faults.append(YamlFault(1, (), _TOO_DEEP))
    return document


def _read_node(node: yaml.Node, path: KeyPath, document: YamlDocument) -> Any:
    line = document.lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > _DEEPEST:
        return document.give_up(path, line, _TOO_DEEP)
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_read_node(item, (*path, index), document) for index, item in enumerate(node.value)]
    return _read_scalar(node, path, document)


def _read_mapping(node: yaml.MappingNode, path: KeyPath, document: YamlDocument) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.faults.append(YamlFault(line, path, "found a list or a mapping as a key; a key is one word"))
            continue
        key = key_node.value
        if key.encode(errors="replace").decode() != key:
            document.faults.append(
                YamlFault(line, path, f"found the key {key!r}, which holds half a character; remove it")
            )
            continue
        if key in values:
            first = document.lines[(*path, key)]
            wrong = f"found twice, first in line {first}; keep one of the two"
            document.faults.append(YamlFault(line, (*path, key), wrong))
            continue
        document.lines[(*path, key)] = line
        values[key] = _read_node(value_node, (*path, key), document)
    return values


def _read_scalar(node: yaml.Node, path: KeyPath, document: YamlDocument) -> Any:
    read = _SCALARS.get(node.tag)
    try:
        if read is None:
            raise ValueError
        node.value.encode()  # "\ud800" is half a character
        return read(node.value)
    except (ValueError, KeyError):
        shown = f"{node.tag.removeprefix(_TAG)} {node.value!r}"
        wrong = f"found {shown}, which cannot be read; write a text, a number or true/false without a tag"
        return document.give_up(path, node.start_mark.line + 1, wrong)
