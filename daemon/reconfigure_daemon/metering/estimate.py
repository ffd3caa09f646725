"""A labelled estimate of the host's energy, for machines that have no counter at all."""

from __future__ import annotations

from collections.abc import Callable

from reconfigure_daemon.metering.ledger import DeviceLedger, PowerIntegral
from reconfigure_policies.domain.energy import DeviceEnergy, EnergySource


class HostEstimate:
    """Power between an idle and a busy figure in proportion to how busy the engine is, integrated over time.

    Args:
        idle_w, busy_w: the host's power with nothing to do and under full load.
        busy: the engine's busy share now, 0 to 1.
    """

    def __init__(self, idle_w: float, busy_w: float, busy: Callable[[], float]) -> None:
        self._idle_w, self._busy_w, self._busy = idle_w, busy_w, busy
        self._integral = PowerIntegral()
        self._ledger = DeviceLedger("host")

    def read(self, at_s: float) -> tuple[DeviceEnergy, ...]:
        """The device `host`, always with source `estimated`."""
        share = min(max(self._busy(), 0.0), 1.0)
        power_w = self._idle_w + share * (self._busy_w - self._idle_w)
        return (self._ledger.book(at_s, self._integral.step(at_s, power_w), EnergySource.ESTIMATED),)

    def close(self) -> None:
        """Nothing is held."""
