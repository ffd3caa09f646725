"""RAPL on fabricated powercap folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconfigure_daemon.metering.rapl import Rapl, RaplUnavailable
from reconfigure_policies.domain.energy import EnergySource
from tests.unit.metering.machine import FakeRapl


def test_packages_and_dram_are_counted_once(fake_rapl: FakeRapl) -> None:
    """Each package and its DRAM count; parts of a package and sums over packages would count twice."""
    fake_rapl.domain("intel-rapl:0", "package-0", 10)
    fake_rapl.domain("intel-rapl:0:0", "core", 10)
    fake_rapl.domain("intel-rapl:0:1", "dram", 10)
    fake_rapl.domain("intel-rapl:1", "package-1", 10)
    fake_rapl.domain("intel-rapl:1:0", "dram", 10)
    fake_rapl.domain("intel-rapl:2", "psys", 10)
    fake_rapl.domain("intel-rapl-mmio:0", "package-0", 10)
    assert [device.device for device in Rapl(fake_rapl.powercap).read(0)] == [
        "dram-0",
        "dram-1",
        "package-0",
        "package-1",
    ]


def test_joules_are_counted_through_a_wrap(fake_rapl: FakeRapl) -> None:
    """A counter that wraps at its range goes on counting where it left off."""
    fake_rapl.domain("intel-rapl:0", "package-0", energy_j=990, range_j=1000)
    rapl = Rapl(fake_rapl.powercap)
    rapl.read(0)
    fake_rapl.count("intel-rapl:0", 30)
    [device] = rapl.read(1)
    assert (device.source, device.energy_j, device.power_w) == (EnergySource.MEASURED, 40, 40)


def test_a_reset_is_not_taken_for_a_wrap(fake_rapl: FakeRapl) -> None:
    """A counter that went back further than a wrap could explain makes one reading unknown."""
    fake_rapl.domain("intel-rapl:0", "package-0", energy_j=50_000)
    rapl = Rapl(fake_rapl.powercap)
    rapl.read(0)
    fake_rapl.count("intel-rapl:0", 100)
    assert [(d.source, d.energy_j) for d in rapl.read(1)] == [(EnergySource.UNKNOWN, 0)]
    fake_rapl.count("intel-rapl:0", 160)
    assert [(d.source, d.energy_j) for d in rapl.read(2)] == [(EnergySource.MEASURED, 60)]


def test_a_domain_that_vanishes_is_unknown_and_may_return(fake_rapl: FakeRapl) -> None:
    """A counter file that cannot be read leaves the joules as they are; the next good reading goes on."""
    folder = fake_rapl.domain("intel-rapl:0", "package-0", energy_j=100)
    rapl = Rapl(fake_rapl.powercap)
    rapl.read(0)
    (folder / "energy_uj").write_text("")
    assert [(d.source, d.energy_j) for d in rapl.read(1)] == [(EnergySource.UNKNOWN, 0)]
    fake_rapl.count("intel-rapl:0", 150)
    assert rapl.read(2)[0].source is EnergySource.MEASURED


def test_no_rapl_is_a_notice(tmp_path: Path) -> None:
    """A machine without powercap is told in one sentence."""
    with pytest.raises(RaplUnavailable, match="has no RAPL domain, so the processor's energy is not metered"):
        Rapl(tmp_path / "powercap")


def test_a_counter_that_is_denied_is_a_notice_with_the_remedy(
    fake_rapl: FakeRapl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that only root may read names its file and what to do."""
    folder = fake_rapl.domain("intel-rapl:0", "package-0", energy_j=100)
    deny(monkeypatch, folder / "energy_uj")
    with pytest.raises(RaplUnavailable, match=r"energy_uj may not be read, so package-0 is not metered; .*udev rule"):
        Rapl(fake_rapl.powercap)


def test_a_folder_without_sense_is_a_notice(fake_rapl: FakeRapl) -> None:
    """Files that hold no number are reported with what they hold; readable domains are metered all the same."""
    folder = fake_rapl.domain("intel-rapl:0", "package-0", energy_j=100)
    fake_rapl.domain("intel-rapl:1", "package-1", energy_j=100)
    (folder / "max_energy_range_uj").write_text("plenty")
    rapl = Rapl(fake_rapl.powercap)
    assert [device.device for device in rapl.read(0)] == ["package-1"]
    assert "package-0 cannot be read and is not metered" in rapl.notices[0]


def deny(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Refuse one file as the kernel does; file modes do not bind a test that runs as root."""
    read_text = Path.read_text

    def read(self: Path) -> str:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(self)

    monkeypatch.setattr(Path, "read_text", read)
