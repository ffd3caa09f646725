"""Joules of short windows from a counter that moves in coarse steps."""

import time

import pytest

from benchmarks.harness.energy_track import EnergyTrack
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource


class CoarseCounter:
    """100 W, booked every 50 ms, as a driver does."""

    def __init__(self):
        self.began_s = time.monotonic()

    def read(self):
        now_s = time.monotonic()
        steps = int((now_s - self.began_s) / 0.05)
        return EnergyReading(now_s, (DeviceEnergy("gpu0", EnergySource.MEASURED, steps * 5.0),))

    def close(self):
        self.began_s = float("nan")


def test_a_window_between_two_steps_of_the_counter_is_known_closely():
    """120 ms of 100 W that begin and end inside steps are 12 J, where the bare counter says 10 or 15."""
    meter = CoarseCounter()
    with EnergyTrack(meter) as track:
        while not track.settled(meter.began_s + 0.3):
            time.sleep(0.005)
        joules = track.joules_between(meter.began_s + 0.125, meter.began_s + 0.245)
    assert joules == pytest.approx(12, abs=1.2)
    assert track.source == "measured"
