"""Committed results in words: their circumstances, their command, their verdicts, and the page that has them all."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import PROJECT
from benchmarks.harness.result import value_in_words

VERDICTS = {True: "yes", False: "**no**"}

#: A result is named like the module that measures it, with or without what else was measured behind it, but for these.
MODULES = {"closed_loop_h200": "gpu.closed_loop"}

#: Where `benchmarks.plots` puts its pictures.
IMAGES = PROJECT / "docs" / "images"

#: Where a run kept what it saw, or found it again: repeating the figures needs none of them.
_NOT_OF_THE_FIGURES = {"cache", "only_cached", "recording", "keep", "sessions"}
_FILES = {"add_to", "recordings"}
_ALWAYS_SO = {"engine": "vllm", "model": "auto", "trace": "azure_2023_conv.csv.gz", "start": 600, "gpus": 0}

#: What is compared, not how long.
_TELLING = ("trace", "start", "with", "recordings", "gpus", "replicas")

_HEAD = """\
# Figures

Every committed figure, written from `benchmarks/results/` by `python -m benchmarks.readme`. Each table says on what
machine it was measured, when, and with which code; the commands above it measure it again, in a clone after `make
setup`. What has no target and is there for understanding the others (intervals, both arms of a ratio) is folded away
below the table; raw values are in `benchmarks/results/NAME.json`. A missed target stays here until it is reached."""


def load(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Every committed result by its name, in the order of names."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of docs/reference/figures.md."""
    sections = ["\n".join(_section(result)) for result in results.values()]
    return "\n\n".join([_HEAD, *(sections or ["No result is committed yet."])]) + "\n"


def command_of(result: Mapping[str, Any]) -> str:
    """What measures it again."""
    return _command(result, result["arguments"])


def commands_of(result: Mapping[str, Any]) -> list[str]:
    """The same, after those of the parts that were added up, or of the recordings that were read."""
    details, arguments = result["details"], result["arguments"]
    parts = [
        f"{_command({**result, 'arguments': part}, part)} --output {Path(path).name}"
        for part, path in zip(details.get("parts", []), arguments.get("add_to") or [], strict=True)
    ]
    recorded = [
        f"{command_line('gpu.trace')} --recording {Path(path).name}" for path in arguments.get("recordings") or []
    ]
    return [*parts, *recorded, command_of(result)]


def short_command_of(result: Mapping[str, Any]) -> str:
    """The same with those options only that make it another figure, and not a longer or a finer one."""
    return _command(result, _TELLING)


def _command(result: Mapping[str, Any], names: Iterable[str]) -> str:
    given = {name: result["arguments"].get(name) for name in names}
    return " ".join([command_line(result["name"]), *(_option(*each) for each in given.items() if _shapes(*each))])


def command_line(name: str) -> str:
    """The command of a benchmark, without options; a group of faults is a word behind the one command of all."""
    group = name.removeprefix("faults.")
    return f"python -m benchmarks.faults {group}" if group != name else f"python -m benchmarks.{module_of(name)}"


def module_of(name: str) -> str:
    """The module that measures a result, below `benchmarks`: `gpu.trace` for `gpu.trace_code_fp8`."""
    named = MODULES.get(name, name)
    return named if _path_of(named).is_file() or "_" not in named else module_of(named.rpartition("_")[0])


def _path_of(module: str) -> Path:
    return PROJECT / "benchmarks" / f"{module.replace('.', '/')}.py"


def measured_on(result: Mapping[str, Any]) -> str:
    """The GPUs, or that there was none."""
    gpus = [gpu["name"] for gpu in result["machine"]["gpus"]]
    return f"{len(gpus)} x {gpus[0]}" if gpus else f"{result['machine']['cpu']}, no GPU"


def target_in_words(row: Mapping[str, Any]) -> str:
    """The target in the value's own words: `<= 0.05` of seconds is `<= 50 ms`; a range stands as it is."""
    comparison, _, limit = row["target"].partition(" ")
    if comparison not in {"<", "<=", "=", ">=", ">"}:
        return str(row["target"])
    return f"{comparison} {value_in_words(float(limit), row['unit'])}"


def found_in_words(row: Mapping[str, Any]) -> str:
    """The value with its unit."""
    return value_in_words(row["value"], row["unit"])


def _section(result: Mapping[str, Any]) -> Iterator[str]:
    emulated = " (emulated, no measurement)" if result.get("engine") == "emulated" else ""
    yield f"## {result['name']}{emulated}"
    yield ""
    yield purpose(result["name"])
    yield ""
    yield from (f"    {line}" for line in commands_of(result))
    yield ""
    yield f"{circumstances(result)}. {' '.join(result['notes'])}".strip()
    yield ""
    if (IMAGES / f"{result['name']}.png").exists():
        yield f"![{purpose(result['name'])}](../images/{result['name']}.png)"
        yield ""
    yield "| what | found | must reach | met |"
    yield "|---|---:|---|---|"
    for row in result["rows"]:
        if row["met"] is not None:
            yield f"| {row['what']} | {found_in_words(row)} | {target_in_words(row)} | {VERDICTS[row['met']]} |"
    yield from _folded([row for row in result["rows"] if row["met"] is None])


def _folded(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if rows:
        yield ""
        yield "<details><summary>Beside it</summary>"
        yield ""
        yield "| what | found |"
        yield "|---|---:|"
        yield from (f"| {row['what']} | {found_in_words(row)} |" for row in rows)
        yield ""
        yield "</details>"


def purpose(name: str) -> str:
    """The first sentence of the module that measures it, read without importing it: some need a GPU's libraries."""
    doc = ast.get_docstring(ast.parse(_path_of(module_of(name)).read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]


def circumstances(result: Mapping[str, Any]) -> str:
    """What the figures depend on, in one line."""
    machine, versions, commit = result["machine"], result["versions"], result["commit"]
    code = f"commit {(commit['id'] or 'unknown')[:10]}{' with changes' if commit['dirty'] else ''}"
    return (
        f"On {measured_on(result)}, {machine['cores']} cores, {machine['memory_gib']} GiB, vLLM {versions['vllm']}, "
        f"{result['date'][:10]}, {code}"
    )


def _shapes(name: str, value: Any) -> bool:
    """Whether an argument is part of what has to be typed again."""
    unsaid = value is None or value is False or value in ("", [])
    return name not in _NOT_OF_THE_FIGURES and not unsaid and _ALWAYS_SO.get(name) != value


def _option(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return option
    words = value if isinstance(value, list) else [value]
    if name in _FILES:
        words = [Path(word).name for word in words]
    return " ".join([option, *(f"{word:g}" if isinstance(word, float) else str(word) for word in words)])
