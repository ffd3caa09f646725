"""The emulated engine has every hot knob that a real one has."""

from __future__ import annotations

from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.settings import HOT_KNOBS, Settings

VALUES = {"pacing_interval_s": [0, 0.02], "prefix_cache_reading": [True, False]}


async def test_each_hot_knob_is_taken_and_read_back():
    """Whatever the settings allow is enforced as asked."""
    space = {name: {"values": VALUES.get(name, [8, 16])} for name in HOT_KNOBS}
    host = EmulatedHost(Settings.model_validate({"space": space}), SystemClock(), Emulation(boot_s=0))
    await host.boot({})
    changes = {name: knob["values"][1] for name, knob in space.items()}
    assert (await host.set_knobs(changes)).enforced == changes
