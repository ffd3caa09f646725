"""What `ports.EnergyMeter` promises, kept by every source of joules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconfigure_daemon.metering import build_meter
from reconfigure_daemon.ports import EnergyMeter
from reconfigure_daemon.settings.model import MeteringSettings
from reconfigure_policies.domain.energy import EnergySource
from tests.unit.metering.machine import DRIVER_NOT_LOADED, GPU_IS_LOST, NOT_SUPPORTED, FakeNvml, FakeRapl, Seconds


class Machine:
    """A meter with a clock, a way to let work be done, and a way to break its devices."""

    def __init__(self, meter: EnergyMeter, clock: Seconds, work: Callable[[], None], fail: Callable[[], None]) -> None:
        self.meter, self.clock, self._work, self.fail = meter, clock, work, fail

    def work_for(self, seconds: float) -> None:
        self._work()
        self.clock.advance(seconds)


@pytest.fixture(params=["counter", "integrated", "rapl", "estimate"])
def machine(request: pytest.FixtureRequest, fake_nvml: FakeNvml, fake_rapl: FakeRapl, tmp_path: Path) -> Machine:
    energy_mj = iter(range(1_000_000, 2**62, 100_000))
    microjoules = iter(range(0, 10**12, 50_000_000))

    def gpu_works() -> None:
        fake_nvml.gpu(0, energy_mj=next(energy_mj), power_mw=300_000)

    def gpu_falls_off() -> None:
        fake_nvml.gpu(0, error=GPU_IS_LOST)

    folder = tmp_path / "powercap/intel-rapl:0"
    clock = Seconds()
    work, fail = gpu_works, gpu_falls_off
    if request.param == "integrated":
        fake_nvml.gpu(0, energy_error=NOT_SUPPORTED)
    elif request.param != "counter":
        fake_nvml.set(init_error=DRIVER_NOT_LOADED)
        work = fail = lambda: None
    if request.param == "rapl":
        fake_rapl.domain("intel-rapl:0", "package-0", 0)
        work = lambda: fake_rapl.count("intel-rapl:0", next(microjoules) / 1e6)  # noqa: E731 - one of three workloads
        fail = (folder / "energy_uj").unlink
    work()
    settings = MeteringSettings()
    meter = build_meter(
        settings, lambda: 0.5, environ={}, powercap=tmp_path / "powercap", with_gpu=True, monotonic=clock
    )
    return Machine(meter, clock, work, fail)


def test_first_reading_is_zero_joules_without_power(machine: Machine) -> None:
    """A meter counts from its start, whatever the hardware counted before."""
    reading = machine.meter.read()
    assert reading.energy_j == 0
    assert [device.power_w for device in reading.devices] == [None]


def test_joules_grow_with_work_and_time(machine: Machine) -> None:
    """Each reading is stamped with the clock, and its power is the joules gained over the seconds passed."""
    before = machine.meter.read()
    machine.work_for(2)
    after = machine.meter.read()
    assert after.at_s - before.at_s == 2
    assert after.energy_j > before.energy_j
    assert after.devices[0].power_w == pytest.approx((after.energy_j - before.energy_j) / 2)


def test_sources_and_labels_are_bounded(machine: Machine) -> None:
    """A device keeps its label, and its source is one that the vocabulary knows."""
    labels = set()
    for _ in range(5):
        machine.work_for(1)
        labels.update(device.device for device in machine.meter.read().devices)
    assert len(labels) == 1
    assert machine.meter.read().source is not EnergySource.UNKNOWN


def test_a_device_that_goes_away_is_no_error(machine: Machine) -> None:
    """Reading never raises, and joules never decrease, when the hardware disappears."""
    machine.meter.read()
    machine.work_for(1)
    before = machine.meter.read()
    machine.fail()
    for _ in range(5):
        machine.clock.advance(1)
        assert machine.meter.read().energy_j >= before.energy_j


def test_close_may_be_called_twice(machine: Machine) -> None:
    """Releasing the drivers is idempotent."""
    machine.meter.close()
    machine.meter.close()
