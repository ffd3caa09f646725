"""The spaces that the guide offers work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from reconfigure_daemon.settings import Settings, load_settings
from reconfigure_policies.domain.objective import Objective

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


PROJECT = GUIDE.parents[2]
BLOCKS = [
    (page, text)
    for page in ("howto/night-mode.md", "guide/device.md")
    for text in re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize(("page", "text"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_a_documented_block_is_valid_in_the_shipped_file(tmp_path, page, text):
    """What a page tells to write passes `config check`, where the rest is as shipped and what the page said before."""
    earlier = [block for of, block in BLOCKS if of == page]
    shipped_with(tmp_path, earlier[: earlier.index(text) + 1])


def shipped_with(folder: Path, blocks: list[str]) -> Settings:
    """The shipped file with these blocks in their keys' place."""
    settings = yaml.safe_load((PROJECT / "config.yaml").read_text(encoding="utf-8"))
    for block in blocks:
        merge(settings, yaml.safe_load(block))
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_settings(path, {})


def test_fp8_by_night_stays_with_the_night(tmp_path):
    """A daemon that decides by itself takes it for no other objective than the night's."""
    settings = shipped_with(tmp_path, [text for page, text in BLOCKS if page == "howto/night-mode.md"])
    space, fp8 = settings.configuration_space(), settings.named_configurations()[Objective.ENERGY]
    assert [each for each in Objective if space.is_open_to(fp8, each)] == [Objective.ENERGY]
    for name in ("quantization", "kv_cache_dtype"):
        assert not space.is_open_to({name: "fp8"}, Objective.THROUGHPUT)


def merge(settings: dict, block: dict) -> None:
    """Take a page's keys over; a knob comes whole."""
    for key, value in block.items():
        if isinstance(value, dict) and isinstance(settings.get(key), dict) and "values" not in value:
            merge(settings[key], value)
        else:
            settings[key] = value
