from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reconfigure_daemon.device_helper.cards import Cards
from reconfigure_daemon.device_helper.custody import Custody
from reconfigure_daemon.device_helper.restore_file import RestoreFile
from tests.unit.metering.conftest import fake_nvml, nvml_library  # noqa: F401  # fixtures
from tests.unit.metering.machine import FakeNvml, Seconds


class Helper:
    """A custody over fake cards, whose time moves when it is told."""

    def __init__(self, nvml: FakeNvml, folder: Path) -> None:
        self.nvml = nvml
        self.now = Seconds()
        self.file = RestoreFile(folder / "restore.json")
        self.custody = self.fresh()

    def fresh(self) -> Custody:
        """Another life of the helper over the same cards and the same file."""
        return Custody(Cards(sleep=self.now.advance), self.file, self.now)

    def uuids(self) -> list[str]:
        return [card.uuid for card, _ in self.custody.cards()]

    def locked(self, index: int = 0) -> int:
        return [0, *self.nvml.was_set(index, "locked_mhz")][-1]

    def limit_w(self, index: int = 0) -> float:
        return [700_000, *self.nvml.was_set(index, "power_limit_mw")][-1] / 1000


@pytest.fixture
def helper(fake_nvml: FakeNvml, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Helper:  # noqa: F811  # a fixture
    caplog.set_level(logging.CRITICAL)
    return Helper(fake_nvml, tmp_path)
