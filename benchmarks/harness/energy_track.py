"""Joules at any moment of a run, sharper than the counter's own steps."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from types import TracebackType
from typing import Self

from reconfigure_daemon.metering import build_meter
from reconfigure_daemon.ports import EnergyMeter
from reconfigure_daemon.settings.model import MeteringSettings

SAMPLE_S = 0.005

#: A GPU's counter has moved at the latest after this long.
SETTLING_S = 0.3

#: Sharp enough beside windows of many seconds, and a fraction of a processor where a reading takes milliseconds.
GPU_SAMPLE_S = 0.02


def track_of_gpus() -> EnergyTrack:
    """Of every GPU that this process may use, idle ones included; an estimate where there is none."""
    return EnergyTrack(build_meter(MeteringSettings(rapl="off"), busy=lambda: 0.0), GPU_SAMPLE_S)


class EnergyTrack:
    """A context in which the meter is watched for the moments at which it moves.

    A GPU's counter moves ten times a second: read at the two ends of a second, it is wrong by up to a tenth. Between
    two of its moves power is taken to be constant, so that a window's end may lie anywhere.

    Attributes:
        source: where the joules come from.
    """

    def __init__(self, meter: EnergyMeter, sample_s: float = SAMPLE_S) -> None:
        first = meter.read()
        self.source = first.source.value
        self._meter = meter
        self._sample_s = sample_s
        self._times_s = [time.monotonic()]
        self._joules = [first.energy_j]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._meter.close()

    def joules_between(self, from_s: float, to_s: float) -> float:
        """Joules from one monotonic moment to another, both inside the track; see `settled`."""
        return self.joules_at(to_s) - self.joules_at(from_s)

    def settled(self, moment_s: float) -> bool:
        """Whether the counter has moved since a moment, so that joules up to it are known."""
        return self._times_s[-1] >= moment_s

    def _watch(self) -> None:
        while not self._stop.wait(self._sample_s):
            energy_j = self._meter.read().energy_j
            if energy_j > self._joules[-1]:
                self._joules.append(energy_j)
                self._times_s.append(time.monotonic())  # last, since readers go by it

    def joules_at(self, moment_s: float) -> float:
        """Joules up to a monotonic moment; beyond the counter's last move, at the power before it."""
        moves = len(self._times_s)
        if moves < 2:
            return self._joules[0]
        after = min(max(bisect_left(self._times_s, moment_s, hi=moves), 1), moves - 1)
        (before_s, after_s), (low, high) = self._times_s[after - 1 : after + 1], self._joules[after - 1 : after + 1]
        return low + (high - low) * (moment_s - before_s) / max(after_s - before_s, 1e-9)
