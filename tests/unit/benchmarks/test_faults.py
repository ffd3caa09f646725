"""The fault benchmark's parts that need no daemon."""

import inspect
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace

import psutil
import pytest
import yaml

from benchmarks.faults import __main__ as faults
from benchmarks.faults import targets
from benchmarks.faults.clock import STEP_S, settings_around
from benchmarks.harness.command import until
from benchmarks.harness.daemon import shipped_settings
from reconfigure_daemon.settings import load_settings
from reconfigure_policies.domain.decision import OutcomeKind


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


@contextmanager
def parent_of_two():
    """A process with a child that runs and one that it starts when told to."""
    code = (
        "import subprocess, sys\n"
        "children = []\n"
        "while sys.stdin.readline():\n"
        "    children.append(subprocess.Popen(['sleep', '60']))\n"
        "    print(children[-1].pid, flush=True)\n"
        "[child.kill() or child.wait() for child in children]\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:

        def another():
            parent.stdin.write(b"another\n")
            parent.stdin.flush()
            return int(parent.stdout.readline())

        yield parent.pid, another


async def test_only_what_boots_is_stopped(monkeypatch):
    """What served before the switch began goes on; what is left afterwards is named with its state."""
    monkeypatch.setattr(targets, "INTO_BOOT_S", 0)
    with parent_of_two() as (parent, another):
        serving = another()
        known = targets.descendants(parent)
        assert not await targets.signalled(parent, known, signal.SIGSTOP)
        booting = another()
        assert await targets.signalled(parent, known, signal.SIGSTOP)

        async def stopped():
            return psutil.Process(booting).status() == psutil.STATUS_STOPPED

        await until(stopped, 10, "the signal to arrive", interval_s=0.001)
        assert psutil.Process(serving).status() != psutil.STATUS_STOPPED
        assert targets.named(targets.descendants(parent) - known) == [f"{booting} sleep (stopped)"]


async def test_the_sound_switch_has_the_shipped_deadline():
    """The short deadline is for targets that hang; what serves is not judged by it."""

    class Busy:
        deadline_s = targets.VLLM_DEADLINE_S

        async def reload(self, changes):
            self.deadline_s = changes["switch"]["deadline_s"]

        async def apply(self, change):
            kind = OutcomeKind.APPLIED if self.deadline_s > 90 else OutcomeKind.ROLLED_BACK
            outcome = SimpleNamespace(kind=kind, detail="overlapped", duration_s=90.0, measurements={"boot_s": 9.0})
            return SimpleNamespace(decision=SimpleNamespace(outcome=outcome))

    assert await targets.succeeds(Busy(), {"block_size": 64}) == (True, "applied after 90.0 s: overlapped boot_s=9")
