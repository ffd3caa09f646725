"""Benchmarks that run at the same time, each on a GPU of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.gpu import side_by_side
from benchmarks.gpu.side_by_side import Lane


@pytest.mark.parametrize(("line", "known"), [("trace --tpot 0.2", True), ("burst", True), ("side_by_side x", False),
                                             ("../overhead", False), ("nothing", False), ("", False)])  # fmt: skip
def test_only_benchmarks_are_started(line: str, known: bool) -> None:
    """A command names a file in benchmarks/gpu, and not the one that starts them."""
    assert side_by_side.is_benchmark(line) is known


def test_gpus_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the driver shows, or those that CUDA_VISIBLE_DEVICES leaves."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert side_by_side.visible(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert side_by_side.visible(2) == ["3", "5"]


def test_the_next_one_takes_the_gpu_that_became_free(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Never two at once on a GPU, all of them in the end, and one miss is told by the exit code."""
    seen: list[tuple[str, str]] = []

    def start(number: int, line: str, gpu: str, folder: object) -> Lane:
        seen.append((line, gpu))
        lasts_s, code = line.split()
        program = f"import sys, time; time.sleep({lasts_s}); sys.exit({code})"
        return Lane(line, gpu, subprocess.Popen([sys.executable, "-c", program]))

    monkeypatch.setattr(side_by_side, "start", start)
    monkeypatch.setattr(side_by_side, "LOOK_S", 0.02)
    assert side_by_side.run(["3 0", "0 1", "0 0"], ["0", "1"], tmp_path) == 1
    assert seen == [("3 0", "0"), ("0 1", "1"), ("0 0", "1")]


def test_without_a_gpu_nothing_is_started(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path) -> None:
    """A sentence and the usage's exit code; an unknown name is told first."""
    monkeypatch.setattr(side_by_side.machine, "gpus", list)
    for commands, words in ((["burst"], "no NVIDIA GPU"), (["brust"], "'brust'")):
        with pytest.raises(SystemExit) as ended:
            side_by_side.main([str(tmp_path), *commands])
        assert ended.value.code == 2
        assert words in capsys.readouterr().err
