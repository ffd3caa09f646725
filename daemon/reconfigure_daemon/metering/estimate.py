"""Labelled estimates of the host's energy, for machines that have no counter at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil

from reconfigure_daemon.metering.ledger import DeviceLedger, PowerIntegral
from reconfigure_policies.domain.energy import DeviceEnergy, EnergySource

_DEVICES = Path("/dev")

#: The kernel books work in ticks: between two readings there may be so much more of it than time.
_TICKS_S = 0.05


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


class ProcessorEstimate:
    """Power between an idle and a busy figure in proportion to the processors' work, all programs' together.

    An engine that computes on processors needs fewer of their seconds where it batches more: what a configuration
    saves shows here, which it does not where an engine counts as busy whenever it has a request.

    Args:
        idle_w, busy_w: the host's power with nothing to do and with every processor at work.
        worked_s: seconds that all processors together have worked so far, as a share of their number.
    """

    def __init__(self, idle_w: float, busy_w: float, worked_s: Callable[[], float]) -> None:
        self._idle_w, self._busy_w, self._worked_s = idle_w, busy_w, worked_s
        self._last: tuple[float, float] | None = None
        self._ledger = DeviceLedger("host")

    def read(self, at_s: float) -> tuple[DeviceEnergy, ...]:
        """The device `host`, always with source `estimated`."""
        last, self._last = self._last, (at_s, self._worked_s())
        step_j = 0.0
        if last is not None:
            passed_s = at_s - last[0]
            worked_s = min(max(self._last[1] - last[1], 0.0), passed_s + _TICKS_S)
            step_j = self._idle_w * passed_s + (self._busy_w - self._idle_w) * worked_s
        return (self._ledger.book(at_s, step_j, EnergySource.ESTIMATED),)

    def close(self) -> None:
        """Nothing is held."""


def processors_worked_s() -> float:
    """Seconds since the machine started that its processors worked, on average over them."""
    times = psutil.cpu_times()
    worked_s = sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq"))
    return float(worked_s) / (psutil.cpu_count() or 1)


def has_nvidia_gpu(devices: Path = _DEVICES) -> bool:
    """Whether the machine shows an NVIDIA GPU, readable or not: then processors say little of the engine's work."""
    return any(devices.glob("nvidia[0-9]*"))
