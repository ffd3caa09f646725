"""GPUs are only set where that is switched on, and can always be given back."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from reconfigure_daemon.settings import Settings, load_settings
from reconfigure_policies.domain.configuration import Tier

CLOCK = {"gpu_clock_mhz": {"values": [0, 1200]}}


def settings(space, **device):
    return Settings.model_validate({"space": {"block_size": {"values": [16]}, **space}, "device": device})


def test_the_cards_knobs_are_hot_and_no_engines():
    """They move without a new core, and the engine host's space is what is left."""
    found = settings(CLOCK, enabled=True)
    assert found.configuration_space().knob("gpu_clock_mhz").tier is Tier.HOT
    assert [knob.name for knob in found.engine_space().knobs] == ["block_size"]


@pytest.mark.parametrize(
    ("space", "device", "words"),
    [
        (CLOCK, {}, "set device.enabled to true, or take this knob out"),
        ({"power_cap_w": {"values": [300, 400]}}, {"enabled": True}, "found no 0, which gives the cards back; add it"),
        ({"gpu_clock_mhz": {"values": [0, 1200.5]}}, {"enabled": True}, "a whole number of at least 0 is allowed"),
        ({"power_cap_w": {"values": [0, -1]}}, {"enabled": True}, "watts from 0 are allowed, 0 for the limit found"),
        ({"gpu_clock_mzh": {"values": [0]}}, {"enabled": True}, "did you mean 'gpu_clock_mhz'?"),
        ({}, {"enabled": True, "lease_s": 1}, "greater than or equal to 5"),
    ],
)
def test_what_cannot_be_is_told_with_the_remedy(space, device, words):
    """Each fault names the key to change and what it may be."""
    with pytest.raises(ValidationError) as refusal:
        settings(space, **device)
    assert words in str(refusal.value)


def test_the_socket_may_lie_beside_the_settings(tmp_path: Path):
    """A relative path is relative to the file, as all are."""
    path = tmp_path / "config.yaml"
    path.write_text("space: {block_size: {values: [16]}}\ndevice: {socket: cards.sock}\n")
    assert load_settings(path, {}).device.socket == tmp_path / "cards.sock"
