"""The switches that the replay is to live through."""

from __future__ import annotations

from benchmarks.harness.switches import kind_of
from benchmarks.switching import COLD, HOT, schedule
from reconfigure_daemon.ports import SwitchMode


def test_fifty_switches_are_hot_overlapped_and_sequential():
    """Three of five are hot, and the last quarter of the cold ones is sequential."""
    modes = [mode for _, mode in schedule(50)]
    assert modes.count(None) == 30
    assert modes.count(SwitchMode.OVERLAPPED) == 15
    assert modes.count(SwitchMode.SEQUENTIAL) == 5
    assert modes.index(SwitchMode.SEQUENTIAL) > 50 - modes[::-1].index(SwitchMode.OVERLAPPED) - 1


def test_every_switch_changes_something():
    """No switch asks for the values that the ones before it left."""
    values = {COLD[0]: 32, **{name: allowed[0] for name, allowed in HOT.items()}}
    for changes, _ in schedule(50):
        assert all(values[name] != value for name, value in changes.items())
        values |= changes


def test_the_kind_of_a_switch_is_what_the_engine_host_did():
    """A cold one is known by what it measures, and its mode by the host's own sentence."""
    assert kind_of("the engine enforces the target", {"latency_s": 0.002}) == "hot"
    assert kind_of("sequential, as asked.", {"live_requests": 3.0}) == SwitchMode.SEQUENTIAL
