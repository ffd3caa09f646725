"""Rows: what was measured, against what it must reach."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.harness.statistics import PairedRatio


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        what: in words, for the README's table.
        value: None if it could not be measured, which meets no target.
        unit: "" for counts and ratios.
        target: e.g. `<= 0.3`; "" for a figure that is only shown.
        met: whether the target was reached; None without one.
    """

    what: str
    value: float | int | None
    unit: str = ""
    target: str = ""
    met: bool | None = None


def at_most(what: str, value: float | None, limit: float, unit: str = "") -> Row:
    """A figure that must not exceed its limit."""
    return Row(what, value, unit, f"<= {limit:g}", value is not None and value <= limit)


def below(what: str, value: float | None, limit: float, unit: str = "") -> Row:
    """A figure that must stay under its limit."""
    return Row(what, value, unit, f"< {limit:g}", value is not None and value < limit)


def at_least(what: str, value: float | None, limit: float, unit: str = "") -> Row:
    """A figure that must reach its limit."""
    return Row(what, value, unit, f">= {limit:g}", value is not None and value >= limit)


def exactly(what: str, value: float | None, expected: float, unit: str = "") -> Row:
    """A count that must be this one."""
    return Row(what, value, unit, f"= {expected:g}", value == expected)


def interval_rows(ratio: PairedRatio, of: str = "") -> list[Row]:
    """The two ends of a paired ratio's interval, or of its range, below the row of its median.

    Args:
        ratio: of pairs of runs.
        of: what it is a ratio of, where a result has several.
    """
    low, high = ("95% interval, low", "95% interval, high") if ratio.has_interval else ("least pair", "highest pair")
    before = f"{of}: " if of else ""
    return [shown(before + low, ratio.low), shown(before + high, ratio.high)]


def shown(what: str, value: float | None, unit: str = "") -> Row:
    """A figure without a target, for understanding the others."""
    return Row(what, value, unit)
