"""A benchmark's result: rows with all that they depend on, as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness.machine import PROJECT, commit, describe_machine, versions
from benchmarks.harness.rows import Row

RESULTS = PROJECT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of a benchmark found.

    Attributes:
        name: of the benchmark.
        engine: `vllm` or `emulated`; an emulation is no measurement and never becomes a committed result, but for a
            benchmark of what only exists in emulation, which says so wherever it is shown.
        rows: the figures.
        arguments: with which it can be repeated.
        notes: sentences that a reader of the figures should know.
        quick: whether it was the short form, which is no result either.
        details: raw values behind the rows.
        machine, versions, commit, date: what the figures depend on.
    """

    name: str
    engine: str
    rows: Sequence[Row]
    arguments: Mapping[str, Any]
    notes: Sequence[str] = ()
    quick: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=describe_machine)
    versions: Mapping[str, str | None] = field(default_factory=versions)
    commit: Mapping[str, Any] = field(default_factory=commit)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def met(self) -> bool:
        """Whether every row with a target reached it."""
        return all(row.met is not False for row in self.rows)

    @property
    def path(self) -> Path | None:
        """Where it is committed; None for what is no result."""
        return RESULTS / f"{self.name}.json" if self.engine == "vllm" and not self.quick else None

    def write(self, path: Path) -> None:
        """Write it as JSON, with every field."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def show(result: Result, console: Console) -> None:
    """Print the rows as a table, with what is no measurement called so."""
    title = result.name
    if result.engine == "emulated":
        title += " (EMULATED: from a model of an engine, not a measurement)"
    elif result.quick:
        title += " (--quick: too short to be a result)"
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("target", justify="right")
    table.add_column("met")
    for row in result.rows:
        verdict = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.met]
        table.add_row(row.what, value_in_words(row.value, row.unit), row.target, verdict)
    console.print(table)
    for note in result.notes:
        console.print(f"  {note}")


def value_in_words(value: float | int | None, unit: str) -> str:
    """A value with three significant digits and its unit, times below a second in milliseconds."""
    if value is None:
        return "not measured"
    if unit == "s" and 0 < abs(value) < 1:
        value, unit = 1000 * value, "ms"
    digits = f"{value}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{digits} {unit}".strip()
