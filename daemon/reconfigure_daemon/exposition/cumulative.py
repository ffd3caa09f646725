"""Readings that only grow while their source lives, turned into increases of counters that grow for ever."""

from __future__ import annotations

from collections.abc import Hashable


class CumulativeReadings:
    """The last reading of each quantity of one source."""

    def __init__(self) -> None:
        self._source: Hashable = None
        self._last: dict[str, float] = {}

    def from_source(self, source: Hashable) -> None:
        """Name the source of the next readings; another one than before counts from zero."""
        if source != self._source:
            self._source = source
            self._last.clear()

    def increase(self, quantity: str, reading: float) -> float:
        """What came since the last reading; never negative.

        A reading below the last one means that the source started again at zero, so all of it is new.
        """
        last = self._last.get(quantity, 0.0)
        self._last[quantity] = reading
        return reading - last if reading >= last else reading
