"""Which keys a running daemon takes from a changed file, and which it refuses by name."""

from __future__ import annotations

import pytest

from reconfigure_daemon.settings import Settings, cold_differences

OLD = {"space": {"block_size": {"values": [16, 32]}}}


def differences(**changes) -> list[str]:
    return cold_differences(Settings.model_validate(OLD), Settings.model_validate(OLD | changes))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"engine": {"port": 8001, "model": "x"}}, ["engine.model", "engine.port"]),
        ({"engine": {"arguments": {"max_model_len": 8}}}, ["engine.arguments.max_model_len"]),
        ({"space": {"block_size": {"values": [16]}}}, ["space.block_size.values"]),
        ({"control_api": {"port": 1}, "paths": {"state": "/x"}}, ["control_api.port", "paths.state"]),
        ({"switch": {"core_restarts": 1, "deadline_s": 1}}, ["switch.core_restarts"]),
        ({"metering": {"rapl": "off", "interval_s": 2}}, ["metering.rapl"]),
    ],
)
def test_what_needs_a_restart_is_named(changes, names):
    """Keys that a process read once are named, each by its full name."""
    assert differences(**changes) == names


def test_the_rest_is_taken_while_running():
    """Service levels, objectives, windows, retention and logging need no restart."""
    assert (
        differences(
            slo={"ttft_s": 1},
            objectives={"energy": {"block_size": 32}},
            start_objective="energy",
            monitoring={"window_s": 5},
            store={"retention_days": 1},
            switch={"mode": "drain", "inexact": "drain"},
            log_level="DEBUG",
        )
        == []
    )


def test_one_is_not_true():
    """A value that only compares equal is a difference."""
    old, new = ({"engine": {"arguments": {"x": value}}} for value in (1, True))
    assert cold_differences(Settings.model_validate(OLD | old), Settings.model_validate(OLD | new)) == [
        "engine.arguments.x"
    ]
