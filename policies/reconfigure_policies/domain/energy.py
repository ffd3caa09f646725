"""Energy readings: cumulative joules of each device, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EnergySource(StrEnum):
    """How joules were obtained: a cumulative counter, power integrated over time, a model, or not at all."""

    MEASURED = "measured"
    INTEGRATED = "integrated"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeviceEnergy:
    """One device's energy since the meter started.

    Attributes:
        device: a bounded label: `gpu0`, `package-0`, `dram-0`, `host`.
        source: how it was obtained.
        energy_j: joules since the meter started; never decreases.
        power_w: mean power between the last two readings, or None before the second.
    """

    device: str
    source: EnergySource
    energy_j: float
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """All devices at one instant of the monotonic clock."""

    at_s: float
    devices: tuple[DeviceEnergy, ...]

    @property
    def energy_j(self) -> float:
        """Joules of all devices since the meter started."""
        return sum(d.energy_j for d in self.devices)

    @property
    def source(self) -> EnergySource:
        """The weakest source among the devices: one estimate makes the sum an estimate."""
        order = list(EnergySource)
        return max((d.source for d in self.devices), key=order.index, default=EnergySource.UNKNOWN)
