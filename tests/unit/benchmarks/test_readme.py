"""README.md quotes the committed results and nothing else."""

import json
from pathlib import Path

import pytest

from benchmarks import readme
from benchmarks.harness.result import RESULTS, Result
from benchmarks.harness.rows import at_most, shown


def test_the_readme_is_up_to_date():
    """What stands between the markers is what the committed results say; `python -m benchmarks.readme` mends it."""
    text = readme.README.read_text(encoding="utf-8")
    assert readme.with_figures(text, readme.figures(RESULTS)) == text


def test_a_result_becomes_a_table_with_its_circumstances(tmp_path: Path):
    """Figures have units, targets and verdicts, what they depend on stands above, and those without target stay out."""
    machine = {"cpu": "Z80", "cores": 2, "memory_gib": 24, "kernel": "Linux 6", "gpus": []}
    rows = [at_most("cut-over stall p95", 0.21, 0.3, "s"), at_most("lost", 1, 0), shown("switches", 50)]
    result = Result(
        "switching", "vllm", rows, {}, machine=machine, versions={"vllm": "0.32.0"},
        commit={"id": "0123456789abcdef", "dirty": True}, date="2026-11-21T05:00:00+00:00",
    )  # fmt: skip
    result.write(tmp_path / "switching.json")
    assert readme.figures(tmp_path).splitlines() == [
        "**switching**: no GPU, Z80, 2 cores, 24 GiB, vLLM 0.32.0, 2026-11-21, commit 0123456789 with changes",
        "",
        "| what | found | must reach | met |",
        "|---|---:|---|---|",
        "| cut-over stall p95 | 210 ms | <= 300 ms | yes |",
        "| lost | 1 | <= 0 | **no** |",
    ]


def test_without_results_no_figure_is_claimed(tmp_path: Path):
    """An empty folder yields a sentence, not an empty table."""
    assert readme.figures(tmp_path) == "No result is committed yet."


def test_gpus_are_counted_by_name(tmp_path: Path):
    """On a GPU machine the processor is of no interest."""
    gpus = [{"name": "NVIDIA H200", "driver": "580"}] * 2
    result = {
        "name": "cut", "rows": [], "date": "2026-11-21", "commit": {"id": None, "dirty": False},
        "machine": {"cpu": "Z80", "cores": 32, "memory_gib": 256, "gpus": gpus}, "versions": {"vllm": "0.24.0"},
    }  # fmt: skip
    (tmp_path / "cut.json").write_text(json.dumps(result))
    assert "2 x NVIDIA H200, 32 cores, 256 GiB, vLLM 0.24.0, 2026-11-21, commit unknown" in readme.figures(tmp_path)


def test_a_readme_without_markers_is_refused():
    """Nothing is overwritten where the markers were lost."""
    with pytest.raises(ValueError, match="needs the lines"):
        readme.with_figures("# Reconfigure\n", "figures")
