"""The unit files, judged by systemd itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "deploy/systemd"
EXPOSURE = {"reconfigure.service": 3.0, "reconfigure-engine.service": 2.0, "reconfigure-objective@.service": 2.0}

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze not found: apt-get install systemd"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def named(unit: str) -> str:
    """A template's file is judged as one of its instances."""
    return unit.replace("@.", "@energy.")


@pytest.mark.parametrize(("unit", "most"), EXPOSURE.items())
def test_the_exposure_is_low(unit: str, most: float):
    """`systemd-analyze security` rates the controller, which needs GPUs and a network, at most 3.0."""
    done = analyze("security", "--offline=true", f"--threshold={most * 10:.0f}", str(UNITS / unit))
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_systemd_understands_every_line(tmp_path: Path):
    """`systemd-analyze verify` complains of nothing once the command is installed."""
    for command in ("reconfigure", "python"):
        (tmp_path / command).symlink_to(shutil.which("true"))
    files = []
    for source in sorted([*UNITS.glob("*.service"), *UNITS.glob("*.timer")]):
        files.append(tmp_path / named(source.name))
        files[-1].write_text(source.read_text().replace("/usr/local/lib/reconfigure/bin", str(tmp_path)))
    done = analyze("verify", "--man=no", "--recursive-errors=no", *map(str, files))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_engine_outlives_what_systemd_does_to_the_controller():
    """Each of these lines keeps a stop, a restart, a kill for memory or a new /tmp from reaching the engine."""
    unit = (UNITS / "reconfigure.service").read_text().splitlines()
    needed = {
        "KillMode=process",
        "OOMPolicy=continue",
        "RuntimeDirectoryPreserve=yes",
        "JoinsNamespaceOf=reconfigure-engine.service",
    }
    assert needed <= set(unit)
    assert not [line for line in unit if line.startswith(("RemoveIPC=", "DynamicUser=", "PrivateDevices="))]


@pytest.mark.parametrize(
    ("timer", "hour"), [("reconfigure-night.timer", "22:00:00"), ("reconfigure-morning.timer", "06:30:00")]
)
def test_the_timers_fire_every_day(timer: str, hour: str):
    """Their calendar expressions mean what their comments say."""
    (line,) = [line for line in (UNITS / timer).read_text().splitlines() if line.startswith("OnCalendar=")]
    assert f"Normalized form: *-*-* {hour}" in analyze("calendar", line.removeprefix("OnCalendar=")).stdout
