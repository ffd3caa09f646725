"""Durations as operators write them: `250ms`, `90s`, `10m`, `1h30m`, `7d`."""

from __future__ import annotations

import re

import typer

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str | float) -> float:
    """Seconds of a duration: numbers with units, joined without spaces.

    Args:
        text: what was typed; a number is taken as seconds already, since defaults pass through here too.

    Raises:
        typer.BadParameter: if it is none.
    """
    if isinstance(text, int | float):
        return float(text)
    if not _WHOLE.fullmatch(text.strip()):
        raise typer.BadParameter(f"found {text!r}, expected a duration like 250ms, 90s, 10m, 1h30m or 7d")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """A duration for people, to three digits: `4.21 ms`, `1.24 s`, `12 min 5 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
