"""Energy between two readings of the meter, known only as well as the weakest reading in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource

_FROM_BEST_TO_WORST = list(EnergySource)


@dataclass(frozen=True, slots=True)
class SpanEnergy:
    """Joules of all devices over a span; None unless every device was known throughout.

    Attributes:
        by_source_j: joules of the devices that were known, by the weakest source each had.
    """

    energy_j: float | None = None
    source: EnergySource = EnergySource.UNKNOWN
    by_source_j: Mapping[str, float] = field(default_factory=dict)


class EnergySpan:
    """Takes the readings of a span in turn.

    A device that was unknown in any of them, that came, went, or lost joules (another meter) makes the sum unknown:
    part of its energy is missing, and a missing part must not read as a saving.
    """

    def __init__(self, first: EnergyReading | None) -> None:
        self._first = _by_device(first)
        self._last = self._first
        self._sources = {name: device.source for name, device in self._first.items()}

    def extend(self, reading: EnergyReading | None) -> None:
        """Move the span's end to this reading; None where the meter was not read."""
        self._last = _by_device(reading)
        for name, device in self._last.items():
            self._sources[name] = _weaker(self._sources.get(name, EnergySource.UNKNOWN), device.source)

    def energy(self) -> SpanEnergy:
        """Joules from the first reading to the last."""
        by_source_j: defaultdict[str, float] = defaultdict(float)
        complete = bool(self._sources)
        for name, source in self._sources.items():
            gained_j = self._gained_j(name)
            if gained_j is None or source is EnergySource.UNKNOWN:
                complete = False
            else:
                by_source_j[source.value] += gained_j
        if not complete:
            return SpanEnergy(by_source_j=dict(by_source_j))
        weakest = max(self._sources.values(), key=_FROM_BEST_TO_WORST.index)
        return SpanEnergy(sum(by_source_j.values()), weakest, dict(by_source_j))

    def _gained_j(self, name: str) -> float | None:
        first, last = self._first.get(name), self._last.get(name)
        if first is None or last is None or last.energy_j < first.energy_j:
            return None
        return last.energy_j - first.energy_j


def _by_device(reading: EnergyReading | None) -> dict[str, DeviceEnergy]:
    return {} if reading is None else {device.device: device for device in reading.devices}


def _weaker(one: EnergySource, other: EnergySource) -> EnergySource:
    return max(one, other, key=_FROM_BEST_TO_WORST.index)
