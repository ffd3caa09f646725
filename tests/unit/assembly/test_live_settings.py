from __future__ import annotations

import pytest

from reconfigure_daemon.assembly.live_settings import LiveSettings, with_cold_of
from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.settings import Settings, cold_differences, load_settings

SPACE = {"block_size": {"values": [16, 32]}, "max_num_seqs": {"values": [16, 64]}}


def settings(**sections):
    return Settings.model_validate({"space": SPACE, **sections})


def test_hot_keys_are_taken_over_and_cold_ones_stay():
    """Within one section, too: a switch's deadline is read anew, its core restarts are not."""
    old = settings(engine={"port": 8000}, switch={"deadline_s": 10, "core_restarts": 1})
    new = settings(engine={"port": 9000}, switch={"deadline_s": 20, "core_restarts": 5}, slo={"ttft_s": 1})
    mixed = with_cold_of(old, new)
    assert (mixed.engine.port, mixed.switch.core_restarts) == (8000, 1)
    assert (mixed.switch.deadline_s, mixed.slo.ttft_s) == (20, 1)
    assert cold_differences(old, mixed) == []


def test_a_cold_key_that_was_unset_stays_unset():
    """A key that only the new file has does not slip in."""
    assert with_cold_of(settings(), settings(metering={"nvml": "off", "interval_s": 5})) == settings(
        metering={"interval_s": 5}
    )


def test_an_objective_outside_the_old_space_is_refused():
    """A reload never leaves an objective that the running engine cannot take."""
    wider = {**SPACE, "block_size": {"values": [16, 32, 64]}}
    new = Settings.model_validate({"space": wider, "objectives": {"energy": {"block_size": 64}}})
    with pytest.raises(SettingsInvalid, match="with the keys that need a restart unchanged"):
        with_cold_of(settings(), new)


def test_followers_hear_of_the_new_settings(tmp_path):
    """Whoever was built from settings is told when they change, and not when the file is faulty."""
    path = tmp_path / "config.yaml"
    path.write_text("space: {block_size: {values: [16]}}\nlog_level: INFO\n")
    live, heard = LiveSettings(load_settings(path, {}), path, {}), []
    live.follow(heard.append)
    path.write_text("space: {block_size: {values: [16]}}\nlog_level: DEBUG\n")
    live.reload()
    path.write_text("nonsense: 1\n")
    live.reload()
    assert [changed.log_level for changed in heard] == ["DEBUG"]
    assert live().log_level == "DEBUG"
