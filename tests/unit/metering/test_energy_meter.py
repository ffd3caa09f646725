"""Which sources a machine's meter is made of."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import psutil
import pytest

from reconfigure_daemon.metering import ComposedEnergyMeter, build_meter, energy_meter
from reconfigure_daemon.metering.estimate import has_nvidia_gpu, processors_worked_s
from reconfigure_daemon.settings.model import MeteringSettings
from reconfigure_policies.domain.energy import EnergySource
from tests.unit.metering.machine import DRIVER_NOT_LOADED, GPU_IS_LOST, FakeNvml, FakeRapl, Seconds

ESTIMATE = MeteringSettings(nvml="off", rapl="off", estimate_idle_w=40, estimate_busy_w=120)


def meter_of(fake_rapl: FakeRapl, settings: MeteringSettings | None = None) -> ComposedEnergyMeter:
    return build_meter(
        settings or MeteringSettings(), lambda: 0.0, environ={}, powercap=fake_rapl.powercap, with_gpu=False
    )


def test_gpus_and_processor_are_summed(fake_nvml: FakeNvml, fake_rapl: FakeRapl) -> None:
    """A machine with both has all of them in one reading, and no estimate."""
    fake_nvml.set(gpus=2)
    fake_rapl.domain("intel-rapl:0", "package-0", 10)
    meter = meter_of(fake_rapl)
    meter.read()
    fake_nvml.gpu(0, energy_mj=100_000)
    fake_nvml.gpu(1, energy_mj=10_000)
    fake_rapl.count("intel-rapl:0", 15)
    reading = meter.read()
    assert [device.device for device in reading.devices] == ["gpu0", "gpu1", "package-0"]
    assert (reading.energy_j, reading.source) == (115, EnergySource.MEASURED)
    assert (meter.notices, [gpu.device for gpu in meter.gpus]) == ([], ["gpu0", "gpu1"])


def test_one_lost_gpu_makes_the_sum_unknown(fake_nvml: FakeNvml, fake_rapl: FakeRapl) -> None:
    """A sum that lacks a device's joules is not passed off as measured."""
    fake_nvml.set(gpus=2)
    meter = meter_of(fake_rapl)
    meter.read()
    fake_nvml.gpu(0, error=GPU_IS_LOST)
    assert meter.read().source is EnergySource.UNKNOWN


def test_processor_alone_is_measured(fake_nvml: FakeNvml, fake_rapl: FakeRapl) -> None:
    """Without a driver the processor's counters are enough, and the missing GPUs are said."""
    fake_nvml.set(init_error=DRIVER_NOT_LOADED)
    fake_rapl.domain("intel-rapl:0", "package-0", 10)
    meter = meter_of(fake_rapl)
    assert meter.read().source is EnergySource.MEASURED
    assert len(meter.notices) == 1


def test_nothing_to_read_is_estimated_and_labelled(fake_nvml: FakeNvml, fake_rapl: FakeRapl) -> None:
    """Only a machine without any counter is estimated, and says so after the reasons."""
    fake_nvml.set(init_error=DRIVER_NOT_LOADED)
    meter = meter_of(fake_rapl)
    assert [(d.device, d.source) for d in meter.read().devices] == [("host", EnergySource.ESTIMATED)]
    assert (
        meter.notices[-1]
        == "Energy is estimated, not measured: 40 W idle to 120 W busy, by how much the processors work."
    )
    assert len(meter.notices) == 3


def test_sources_can_be_switched_off(fake_nvml: FakeNvml, fake_rapl: FakeRapl) -> None:
    """`off` neither reads a source nor speaks of it."""
    fake_rapl.domain("intel-rapl:0", "package-0", 10)
    meter = meter_of(fake_rapl, ESTIMATE)
    assert [device.device for device in meter.read().devices] == ["host"]
    assert len(meter.notices) == 1


@pytest.mark.parametrize(("share", "power_w"), [(0, 40), (0.25, 60), (1, 120), (-1, 40), (7, 120)])
def test_the_estimate_follows_the_busy_share(share: float, power_w: float, tmp_path: Path) -> None:
    """Beside a GPU that cannot be read, estimated power lies between idle and busy watts in proportion."""
    clock = Seconds()
    meter = build_meter(ESTIMATE, lambda: share, powercap=tmp_path, with_gpu=True, monotonic=clock)
    meter.read()
    clock.advance(10)
    reading = meter.read()
    assert reading.energy_j == pytest.approx(10 * power_w)
    assert reading.devices[0].power_w == pytest.approx(power_w)


def test_the_estimate_follows_the_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a GPU the processors' work between two readings counts, for no more than the time between and a tick."""
    clock, worked_s = Seconds(), iter([100.0, 104.0, 130.0, 129.0])
    monkeypatch.setattr(energy_meter, "processors_worked_s", lambda: next(worked_s))
    meter = build_meter(ESTIMATE, lambda: 1.0, powercap=tmp_path, with_gpu=False, monotonic=clock)
    joules = [meter.read().energy_j]
    for _ in range(3):
        clock.advance(10)
        joules.append(meter.read().energy_j)
    steps = [after - before for before, after in itertools.pairwise(joules)]
    assert steps == pytest.approx([4 * 120 + 6 * 40, 10 * 120 + 0.05 * 80, 10 * 40])


def test_processors_at_work_are_seen() -> None:
    """A process that computes adds its seconds to the machine's."""
    before_s, own_s = processors_worked_s(), time.process_time()
    while time.process_time() < own_s + 0.3:
        pass
    worked_s = (processors_worked_s() - before_s) * (psutil.cpu_count() or 1)
    assert worked_s > 0.2  # the kernel counts in hundredths


def test_a_gpu_is_seen_by_its_device(tmp_path: Path) -> None:
    """A GPU's own device file tells; the driver's others do not."""
    (tmp_path / "nvidiactl").touch()
    assert not has_nvidia_gpu(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert has_nvidia_gpu(tmp_path)
