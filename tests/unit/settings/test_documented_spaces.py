"""The spaces that the guide offers work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconfigure_daemon.settings import load_settings

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "space.md"
SPACES = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_guide_offers_three():
    """Without a GPU, with one, and with several."""
    assert len(SPACES) == 3


@pytest.mark.parametrize("text", SPACES)
def test_a_documented_space_is_valid_and_can_be_enumerated(tmp_path, text):
    """It has no fault, and few enough candidates to forecast them all."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    space = load_settings(path, {}).configuration_space()
    assert 10 < sum(1 for _ in space.enumerate()) < 1000
