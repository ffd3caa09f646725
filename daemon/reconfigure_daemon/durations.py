"""Durations as people write them: `8h`, `90m`, `1h30m`, `1.5s`, `250ms`."""

from __future__ import annotations

import re

#: Seconds of each unit, from the longest to the shortest; also the order in which a duration names them.
UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

#: What a duration has to be, for whoever wrote something else.
HOW_TO_WRITE = "write numbers with d, h, m, s or ms, e.g. 8h, 90m or 1h30m"

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


def parse_duration_s(text: str) -> float:
    """Seconds of a duration such as `8h`, `1h30m` or `250ms`; every part has a unit, the longest first.

    Raises:
        ValueError: if the text is no such duration or is zero; the message says what is allowed.
    """
    compact = text.strip().replace(" ", "").lower()
    parts = _PART.findall(compact)
    units = [unit for _, unit in parts]
    in_order = units == [unit for unit in UNITS_S if unit in units]
    total_s = sum(float(amount) * UNITS_S[unit] for amount, unit in parts)
    well_formed = in_order and "".join(amount + unit for amount, unit in parts) == compact
    if parts and well_formed and total_s == 0:
        raise ValueError(f"{text!r} is no time at all; write more than 0, e.g. 8h, 90m or 1h30m")
    if not well_formed or not 0 < total_s < float("inf"):
        raise ValueError(f"{text!r} is not a duration; {HOW_TO_WRITE}")
    return total_s


def format_duration(seconds: float) -> str:
    """A duration in its two longest units, e.g. `1h30m`, `4.2s`, `38ms`; `parse_duration_s` reads it back."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    return _two_units(round(seconds))


def _two_units(seconds: int) -> str:
    """The two longest units of a minute or more; the shorter one is left out when it is zero."""
    minutes, secs = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (secs, "s")]
    first = next(index for index, (amount, _) in enumerate(parts) if amount)
    return "".join(f"{amount}{unit}" for amount, unit in parts[first : first + 2] if amount)
