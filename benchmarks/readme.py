"""Writes the committed figures into README.md, between its two markers: `python -m benchmarks.readme`.

Only figures with a target are shown; the others are in the results, for understanding these. No figure enters the
README by hand; a unit test fails while the two disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import PROJECT
from benchmarks.harness.result import RESULTS, value_in_words

README = PROJECT / "README.md"
BEGIN = "<!-- figures: written by `python -m benchmarks.readme` -->"
END = "<!-- end of figures -->"

_VERDICTS = {True: "yes", False: "**no**"}


def main() -> int:
    """Bring README.md up to date; the exit code is 0."""
    readme = README.read_text(encoding="utf-8")
    README.write_text(with_figures(readme, figures(RESULTS)), encoding="utf-8")
    return 0


def with_figures(readme: str, found: str) -> str:
    """The text with what stands between its markers replaced.

    Raises:
        ValueError: if a marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the lines {BEGIN!r} and {END!r}, in this order")
    return f"{before}{BEGIN}\n{found}\n{END}{after}"


def figures(folder: Path) -> str:
    """Every committed result as a table, by name."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not results:
        return "No result is committed yet."
    return "\n\n".join("\n".join(_section(result)) for result in results)


def _section(result: Mapping[str, Any]) -> Iterator[str]:
    emulated = " (emulated, no measurement)" if result.get("engine") == "emulated" else ""
    yield f"**{result['name']}**{emulated}: {_circumstances(result)}"
    yield ""
    yield "| what | found | must reach | met |"
    yield "|---|---:|---|---|"
    for row in result["rows"]:
        if row["met"] is not None:
            found = value_in_words(row["value"], row["unit"])
            yield f"| {row['what']} | {found} | {_target(row)} | {_VERDICTS[row['met']]} |"


def _target(row: Mapping[str, Any]) -> str:
    """The target in the value's own words: `<= 0.05` of seconds is `<= 50 ms`."""
    comparison, _, limit = row["target"].partition(" ")
    return f"{comparison} {value_in_words(float(limit), row['unit'])}"


def _circumstances(result: Mapping[str, Any]) -> str:
    """What the figures depend on, in one line."""
    machine, versions, commit = result["machine"], result["versions"], result["commit"]
    gpus = [gpu["name"] for gpu in machine["gpus"]]
    devices = f"{len(gpus)} x {gpus[0]}" if gpus else f"no GPU, {machine['cpu']}"
    code = f"commit {(commit['id'] or 'unknown')[:10]}{' with changes' if commit['dirty'] else ''}"
    return (
        f"{devices}, {machine['cores']} cores, {machine['memory_gib']} GiB, vLLM {versions['vllm']}, "
        f"{result['date'][:10]}, {code}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
