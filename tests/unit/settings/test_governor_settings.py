"""The governor is only switched on where it has something to move and a limit to keep."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.objective import Objective

PACED = {"pacing_interval_s": {"values": [0, 0.02]}}


def settings(space=None, slo=None, **governor):
    return Settings.model_validate({"space": space or PACED, "slo": slo or {"tpot_s": 0.05}, "governor": governor})


def test_it_is_off_unless_asked_for():
    """Without the section nothing governs; with it, it is energy's."""
    assert not Settings.model_validate({"space": PACED}).governor.enabled
    assert settings(enabled=True).governor.objective is Objective.ENERGY


@pytest.mark.parametrize(
    ("space", "slo", "remedy"),
    [
        (PACED, {"ttft_s": 1}, "set slo.tpot_s"),
        ({"block_size": {"values": [16]}}, {"tpot_s": 0.05}, "give space.pacing_interval_s several values"),
        ({"pacing_interval_s": {"values": [0]}}, {"tpot_s": 0.05}, "give space.pacing_interval_s several values"),
    ],
)
def test_a_governor_without_a_limit_or_a_pace_is_refused(space, slo, remedy):
    """What it lacks is told at its switch."""
    with pytest.raises(ValidationError) as refusal:
        settings(space, slo, enabled=True)
    (fault,) = refusal.value.errors()
    assert fault["loc"] == ("governor", "enabled")
    assert remedy in fault["msg"]


@pytest.mark.parametrize("margin", [-0.1, 1, 5])
def test_a_margin_is_a_share(margin):
    """Less than nothing or all of a limit cannot be kept free."""
    with pytest.raises(ValidationError, match="margin"):
        settings(margin=margin)


@pytest.mark.parametrize("clocks", [None, {"values": [0]}])
def test_clocks_to_choose_need_to_be_in_the_space(clocks):
    """Told at its own key, with what to write."""
    space = PACED | ({} if clocks is None else {"gpu_clock_mhz": clocks})
    with pytest.raises(ValidationError) as refusal:
        Settings.model_validate(
            {
                "space": space,
                "slo": {"tpot_s": 0.05},
                "governor": {"enabled": True, "clocks": True},
                "device": {"enabled": True},
            }
        )
    (fault,) = refusal.value.errors()
    assert fault["loc"] == ("governor", "clocks")
    assert "give space.gpu_clock_mhz several values" in fault["msg"]
