"""A fabricated machine: GPUs behind a compiled `libnvidia-ml.so.1`, and RAPL as files."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pynvml
import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")

# NVML's own numbers.
NO_PERMISSION, NOT_SUPPORTED, DRIVER_NOT_LOADED, GPU_IS_LOST = 4, 3, 9, 15


def compile_fake_nvml(folder: Path) -> Path:
    """The fake driver's library, under the name that pynvml looks for."""
    library = folder / "libnvidia-ml.so.1"
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None, "the tests need a C compiler"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
    return library


class FakeNvml:
    """The fake driver's state, changed while the daemon reads it."""

    def __init__(self, library: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.library = library
        self.path = folder / "nvml.state"
        self._values: dict[str, object] = {}
        self.set(gpus=1)
        monkeypatch.setenv("FAKE_NVML_STATE", str(self.path))
        monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def set(self, **values: object) -> None:
        self._values.update(values)
        self.path.write_text("".join(f"{key} {value}\n" for key, value in self._values.items()))

    def gpu(self, index: int, **values: object) -> None:
        self.set(**{f"{index}.{key}": value for key, value in values.items()})

    def was_set(self, index: int, what: str) -> list[int]:
        """Every value that was set on a GPU so far, oldest first, by whichever process."""
        written = self.path.with_name(self.path.name + ".set")
        lines = written.read_text().splitlines() if written.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == f"{index}.{what}"]


class FakeRapl:
    """Powercap folders as Linux shows them."""

    def __init__(self, powercap: Path) -> None:
        self.powercap = powercap
        powercap.mkdir()

    def domain(self, folder: str, name: str, energy_j: float, range_j: float = 262_143) -> Path:
        path = self.powercap / folder
        path.mkdir(exist_ok=True)
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{int(range_j * 1e6)}\n")
        self.count(folder, energy_j)
        return path

    def count(self, folder: str, energy_j: float) -> None:
        (self.powercap / folder / "energy_uj").write_text(f"{int(energy_j * 1e6)}\n")


class Seconds:
    """A monotonic clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
