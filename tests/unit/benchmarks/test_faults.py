"""The fault benchmark's parts that need no daemon."""

import inspect
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
import yaml

from benchmarks.faults import __main__ as faults
from benchmarks.faults.clock import STEP_S, settings_around
from benchmarks.harness.daemon import shipped_settings
from reconfigure_daemon.settings import load_settings


@pytest.mark.parametrize("name", faults.GROUPS)
def test_every_group_can_be_run(name):
    """It says what it does, and measures."""
    module = import_module(f"benchmarks.faults.{name}")
    assert len(module.__doc__.splitlines()[0]) > 20
    assert inspect.iscoroutinefunction(module.measure)


def test_groups_are_listed_and_nothing_is_run(capsys):
    """`--help` names all of them."""
    assert faults.main(["--help"]) == 0
    assert ", ".join(faults.GROUPS) in capsys.readouterr().out


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_each_hour_around_now_has_its_own_schedule(hour, tmp_path):
    """At any time of the day, also around midnight, the clock that steps finds another objective each time."""
    now = datetime(2026, 11, 24, hour, 41, tzinfo=UTC)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(shipped_settings("emulated", "auto", 8000, 9400, settings_around(now))))
    calendar = load_settings(config, {}).calendar()
    for hours, objective in ((-1, "balanced"), (0, "energy"), (1, "throughput")):
        assert calendar.at((now + timedelta(seconds=hours * STEP_S)).timestamp()).objective == objective
