"""GPUs through the real pynvml, whose library is the compiled fake driver."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from reconfigure_daemon.metering.gpus import FIRST_RETRY_S, LONGEST_RETRY_S, Gpus, GpusUnavailable
from reconfigure_policies.domain.energy import EnergySource
from tests.unit.metering.machine import DRIVER_NOT_LOADED, GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED, FakeNvml


def read_one(gpus: Gpus, at_s: float) -> tuple[EnergySource, float]:
    [device] = gpus.read(at_s)
    return device.source, device.energy_j


def test_counter_is_differenced_from_the_start(fake_nvml: FakeNvml) -> None:
    """Millijoules since the driver was loaded become joules since the meter started."""
    fake_nvml.gpu(0, energy_mj=5_000_000)
    gpus = Gpus({})
    assert read_one(gpus, 0) == (EnergySource.MEASURED, 0)
    fake_nvml.gpu(0, energy_mj=5_560_000)
    [device] = gpus.read(2)
    assert (device.device, device.energy_j, device.power_w) == ("gpu0", 560, 280)


@pytest.mark.parametrize("jump_mj", [3_000, 900_000_000_000])
def test_counter_that_starts_anew_costs_one_unknown_reading(fake_nvml: FakeNvml, jump_mj: int) -> None:
    """A counter below its last value, or above what any GPU could draw, never moves the joules; counting goes on."""
    fake_nvml.gpu(0, energy_mj=5_000_000)
    gpus = Gpus({})
    gpus.read(0)
    fake_nvml.gpu(0, energy_mj=5_100_000)
    gpus.read(1)
    fake_nvml.gpu(0, energy_mj=jump_mj)
    [device] = gpus.read(2)
    assert (device.source, device.energy_j, device.power_w) == (EnergySource.UNKNOWN, 100, None)
    fake_nvml.gpu(0, energy_mj=jump_mj + 50_000)
    assert read_one(gpus, 3) == (EnergySource.MEASURED, 150)


def test_power_is_integrated_where_there_is_no_counter(fake_nvml: FakeNvml) -> None:
    """Without a counter, joules are the area under the power readings, and are labelled so."""
    fake_nvml.gpu(0, energy_error=NOT_SUPPORTED, power_mw=100_000)
    gpus = Gpus({})
    assert read_one(gpus, 0) == (EnergySource.INTEGRATED, 0)
    fake_nvml.gpu(0, power_mw=300_000)
    assert read_one(gpus, 2) == (EnergySource.INTEGRATED, 400)
    assert gpus.notices == ["gpu0 has no energy counter; its power is integrated over time instead."]


def test_a_lost_gpu_is_unknown_until_it_is_back(fake_nvml: FakeNvml, caplog: pytest.LogCaptureFixture) -> None:
    """A lost GPU keeps its joules, the other one goes on counting, and it is counted again once it answers."""
    fake_nvml.set(gpus=2)
    gpus = Gpus({})
    gpus.read(0)
    fake_nvml.gpu(0, energy_mj=100_000, error=GPU_IS_LOST)
    fake_nvml.gpu(1, energy_mj=200_000)
    lost, other = gpus.read(1)
    assert (lost.source, lost.energy_j) == (EnergySource.UNKNOWN, 0)
    assert (other.source, other.energy_j) == (EnergySource.MEASURED, 200)

    fake_nvml.gpu(0, energy_mj=70_000, error=0)
    fake_nvml.gpu(1, energy_mj=300_000)
    back, other = gpus.read(1 + FIRST_RETRY_S)
    assert (back.source, back.energy_j) == (EnergySource.MEASURED, 0)
    assert (other.source, other.energy_j) == (EnergySource.MEASURED, 300)

    fake_nvml.gpu(0, energy_mj=75_000)
    assert gpus.read(4)[0].energy_j == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "gpu0 stopped answering (GPU is lost)" in caplog.text


def test_a_lost_gpu_is_looked_for_ever_more_seldom(fake_nvml: FakeNvml) -> None:
    """NVML is restarted after 1, 2, 4 … seconds, at most once a minute, while a GPU stays away."""
    fake_nvml.set(gpus=2)
    gpus = Gpus({})
    restarts = []
    gpus._reconnect = lambda: restarts.append(second)  # type: ignore[method-assign] # counts instead of restarting
    fake_nvml.gpu(0, error=GPU_IS_LOST)
    for second in range(301):
        gpus.read(second)
    assert restarts[:6] == [1, 3, 7, 15, 31, 63]
    assert {after - before for before, after in pairwise(restarts[5:])} == {LONGEST_RETRY_S}


def test_a_driver_that_is_reloaded_is_picked_up(fake_nvml: FakeNvml) -> None:
    """With every GPU gone the session is given up, so that the driver can be reloaded, and begun anew afterwards."""
    fake_nvml.gpu(0, energy_mj=1_000_000)
    gpus = Gpus({})
    gpus.read(0)
    fake_nvml.gpu(0, error=GPU_IS_LOST)
    fake_nvml.set(init_error=DRIVER_NOT_LOADED)
    for second in range(1, 5):
        assert read_one(gpus, second)[0] is EnergySource.UNKNOWN
    fake_nvml.gpu(0, energy_mj=0, error=0)
    fake_nvml.set(init_error=0)
    assert read_one(gpus, 10) == (EnergySource.MEASURED, 0)
    fake_nvml.gpu(0, energy_mj=20_000)
    assert read_one(gpus, 11) == (EnergySource.MEASURED, 20)


def test_a_gpu_that_is_lost_at_the_start_is_awaited(fake_nvml: FakeNvml) -> None:
    """A GPU that does not answer at the start is announced, counts as unknown and joins when it answers."""
    fake_nvml.gpu(0, error=GPU_IS_LOST)
    gpus = Gpus({})
    assert gpus.notices == ["gpu0 does not answer (GPU is lost); its energy is unknown until it does."]
    assert read_one(gpus, 0) == (EnergySource.UNKNOWN, 0)
    fake_nvml.gpu(0, error=0)
    assert read_one(gpus, 5) == (EnergySource.MEASURED, 0)
    assert gpus.facts()[0].uuid == "GPU-a0000000-fake"


@pytest.mark.parametrize(
    ("error", "words"),
    [(DRIVER_NOT_LOADED, ["Driver Not Loaded", "install or load"]), (NO_PERMISSION, ["Permission", "/dev/nvidiactl"])],
)
def test_nvml_that_refuses_is_a_notice(fake_nvml: FakeNvml, error: int, words: list[str]) -> None:
    """An unusable driver is one sentence that says what was found and what to do."""
    fake_nvml.set(init_error=error)
    with pytest.raises(GpusUnavailable) as refusal:
        Gpus({})
    assert all(word in str(refusal.value) for word in [*words, "GPU energy is not metered", "metering.nvml"])


def test_a_gpu_that_tells_nothing_makes_the_sum_unknown(fake_nvml: FakeNvml) -> None:
    """Beside a GPU that counts, one without counter and power stays in the reading as unknown, and says why."""
    fake_nvml.set(gpus=2)
    fake_nvml.gpu(0, energy_error=NOT_SUPPORTED, power_error=NOT_SUPPORTED)
    gpus = Gpus({})
    assert [device.source for device in gpus.read(0)] == [EnergySource.UNKNOWN, EnergySource.MEASURED]
    assert gpus.notices == ["gpu0 tells neither energy nor power (Not Supported), so its energy is unknown."]


def test_gpus_that_all_tell_nothing_are_left_to_the_estimate(fake_nvml: FakeNvml) -> None:
    """Where no GPU will ever be metered there is no group at all."""
    fake_nvml.gpu(0, energy_error=NO_PERMISSION, power_error=NO_PERMISSION)
    with pytest.raises(GpusUnavailable, match="gpu0 tells neither energy nor power"):
        Gpus({})


@pytest.mark.parametrize(
    ("visible", "devices"),
    [("1", ["gpu1"]), ("GPU-b", ["gpu1"]), ("1,0", ["gpu1", "gpu0"]), ("MIG-a/1/0", ["gpu0"])],
)
def test_only_visible_gpus_are_metered(fake_nvml: FakeNvml, visible: str, devices: list[str]) -> None:
    """CUDA_VISIBLE_DEVICES chooses the GPUs by index, UUID or MIG slice; labels keep the driver's indices."""
    fake_nvml.set(gpus=2)
    gpus = Gpus({"CUDA_VISIBLE_DEVICES": visible})
    assert [device.device for device in gpus.read(0)] == devices


def test_hidden_gpus_are_a_notice(fake_nvml: FakeNvml) -> None:
    """An environment that hides every GPU is named with its value."""
    with pytest.raises(GpusUnavailable, match=r"shows 1 GPUs and CUDA_VISIBLE_DEVICES is '': none is left"):
        Gpus({"CUDA_VISIBLE_DEVICES": ""})


def test_unlike_gpus_by_index_are_a_notice(fake_nvml: FakeNvml) -> None:
    """Indices into unlike GPUs are warned about, because CUDA may count them in another order."""
    fake_nvml.set(gpus=2)
    fake_nvml.gpu(1, name="Another GPU")
    [notice] = Gpus({"CUDA_VISIBLE_DEVICES": "0"}).notices
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in notice


def test_facts_are_read_from_the_driver(fake_nvml: FakeNvml) -> None:
    """Name, driver, power limits and clocks are known for each GPU, in base units."""
    [facts] = Gpus({}).facts()
    assert (facts.device, facts.uuid, facts.name) == ("gpu0", "GPU-a0000000-fake", "Fake GPU")
    assert facts.driver_version == "999.01"
    assert facts.power_limit_range_w == (200, 700)
    assert facts.sm_clock_range_mhz == (345, 1980)


def test_pynvml_finds_the_library_by_its_name(nvml_library: Path, tmp_path: Path) -> None:
    """A process that finds libnvidia-ml.so.1 on its path meters the GPU behind it."""
    state = tmp_path / "state"
    state.write_text("gpus 1\n0.energy_mj 7000\n")
    program = "from reconfigure_daemon.metering.gpus import Gpus; print(Gpus({}).read(0)[0].source)"
    assert run(program, nvml_library.parent, FAKE_NVML_STATE=str(state)) == "measured"


def test_a_machine_without_the_library_is_a_notice(tmp_path: Path) -> None:
    """A library that cannot be loaded ends in a sentence, not a traceback."""
    (tmp_path / "libnvidia-ml.so.1").touch()  # found before any real one, and no library
    program = (
        "from reconfigure_daemon.metering import build_meter\n"
        "from reconfigure_daemon.settings.model import MeteringSettings\n"
        "print(build_meter(MeteringSettings(rapl='off'), lambda: 0.0).notices[0])"
    )
    assert "NVML does not start (NVML Shared Library Not Found)" in run(program, tmp_path)


def run(program: str, library_folder: Path, **environment: str) -> str:
    environ = os.environ | environment | {"LD_LIBRARY_PATH": str(library_folder)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_gpus_that_are_left_over_count_on(fake_nvml: FakeNvml) -> None:
    """After a move from four GPUs to one, the three idle ones are still the daemon's, and so are their joules."""
    fake_nvml.set(gpus=4)
    gpus = Gpus({})
    gpus.read(0)
    for index, watts in enumerate((600, 78, 78, 78)):
        fake_nvml.gpu(index, energy_mj=1000 * watts)
    assert [(device.device, device.power_w) for device in gpus.read(1)] == [
        ("gpu0", 600), ("gpu1", 78), ("gpu2", 78), ("gpu3", 78),
    ]  # fmt: skip
    two = Gpus({"CUDA_VISIBLE_DEVICES": "0,3"})
    assert [device.device for device in two.read(2)] == ["gpu0", "gpu3"]
