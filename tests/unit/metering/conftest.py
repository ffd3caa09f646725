from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.metering.machine import FakeNvml, FakeRapl, compile_fake_nvml


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_fake_nvml(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def fake_nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return FakeNvml(nvml_library, tmp_path, monkeypatch)


@pytest.fixture
def fake_rapl(tmp_path: Path) -> FakeRapl:
    return FakeRapl(tmp_path / "powercap")
