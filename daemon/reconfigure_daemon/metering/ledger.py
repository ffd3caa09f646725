"""From raw counters and power samples to joules that only grow."""

from __future__ import annotations

from reconfigure_policies.domain.energy import DeviceEnergy, EnergySource

#: More than any single device draws: a faster counter did not count, it jumped.
MOST_PLAUSIBLE_POWER_W = 10_000.0

#: Counters move in steps (NVML's every 100 ms), so a short interval may hold more than its share.
SHORTEST_PLAUSIBLE_INTERVAL_S = 1.0


class CounterDifference:
    """Joules between successive readings of a cumulative counter that may wrap or start anew.

    Args:
        range_j: joules at which the counter wraps to zero, or None if it does not wrap within a lifetime.
    """

    def __init__(self, range_j: float | None = None) -> None:
        self._range_j = range_j
        self._last: tuple[float, float] | None = None

    def step(self, at_s: float, counter_j: float) -> float | None:
        """Joules since the last reading: 0 for the first, None where the counter cannot tell.

        A counter that went back without wrapping, or forward faster than any device can draw, was reset in between:
        what it counted before the reset is lost, and the next step starts from here.
        """
        last, self._last = self._last, (at_s, counter_j)
        if last is None:
            return 0.0
        step_j = counter_j - last[1]
        if step_j < 0 and self._range_j is not None:
            step_j += self._range_j
        interval_s = max(at_s - last[0], SHORTEST_PLAUSIBLE_INTERVAL_S)
        return step_j if 0 <= step_j <= MOST_PLAUSIBLE_POWER_W * interval_s else None


class PowerIntegral:
    """Joules between successive power samples, by the trapezoidal rule."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def step(self, at_s: float, power_w: float) -> float:
        """Joules since the last sample; 0 for the first."""
        last, self._last = self._last, (at_s, power_w)
        return 0.0 if last is None else (at_s - last[0]) * (power_w + last[1]) / 2


class DeviceLedger:
    """One device's joules since the meter started."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._energy_j = 0.0
        self._last_at_s: float | None = None

    def book(self, at_s: float, step_j: float | None, source: EnergySource) -> DeviceEnergy:
        """Add a step; one that is None makes this reading unknown and leaves the joules as they are."""
        if step_j is None:
            source, step_j, last_at_s = EnergySource.UNKNOWN, 0.0, None
        else:
            last_at_s = self._last_at_s
        self._energy_j += step_j
        self._last_at_s = None if source is EnergySource.UNKNOWN else at_s
        power_w = step_j / (at_s - last_at_s) if last_at_s is not None and at_s > last_at_s else None
        return DeviceEnergy(self.device, source, self._energy_j, power_w)
