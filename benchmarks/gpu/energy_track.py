"""Cumulative joules of every GPU of the machine, sampled beside a load."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left

from reconfigure_daemon.metering import build_meter
from reconfigure_daemon.settings.model import MeteringSettings

#: NVML's energy counter moves about this often.
SAMPLE_S = 0.1


class EnergyTrack:
    """A context that samples the counters in a thread; a value between two samples is interpolated.

    Attributes:
        source: where the joules come from, e.g. `measured`.
    """

    def __init__(self) -> None:
        self._meter = build_meter(MeteringSettings(rapl="off"), busy=lambda: 0.0)
        self.source = self._meter.read().source.value
        self._times_s: list[float] = []
        self._joules: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> EnergyTrack:
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._meter.close()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._note()

    def _note(self) -> None:
        joules = self._meter.read().energy_j
        self._joules.append(joules)
        self._times_s.append(time.monotonic())  # last, so that a reader finds the joules of every time

    def joules_at(self, moment_s: float) -> float:
        """Joules since the track began, at a monotonic time inside it; at its ends, the nearest sample's."""
        if len(self._times_s) < 2:
            return self._joules[0]
        after = min(max(bisect_left(self._times_s, moment_s), 1), len(self._times_s) - 1)
        (begun_s, ended_s), (low, high) = self._times_s[after - 1 : after + 1], self._joules[after - 1 : after + 1]
        share = (moment_s - begun_s) / max(ended_s - begun_s, 1e-9)
        return low + (high - low) * min(1.0, max(0.0, share))

    def joules_between(self, from_s: float, to_s: float) -> float:
        """Joules of a stretch, in monotonic times inside the track."""
        return self.joules_at(to_s) - self.joules_at(from_s)
