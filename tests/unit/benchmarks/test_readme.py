"""README.md and the page of figures quote the committed results and nothing else."""

from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import readme
from benchmarks.harness import figures
from benchmarks.harness.result import RESULTS, Result
from benchmarks.harness.rows import Row, at_most, shown

NO_GPU = {"cpu": "Z80", "cores": 2, "memory_gib": 24, "kernel": "Linux 6", "gpus": []}
COMMITTED = figures.load(RESULTS)


def result(name="switching", rows=(), arguments=None, **changes):
    """A result as it is read from its file."""
    what = {
        "machine": NO_GPU, "versions": {"vllm": "0.32.0"}, "commit": {"id": "0123456789abcdef", "dirty": False},
        "date": "2026-11-21T05:00:00+00:00",
    }  # fmt: skip
    return asdict(Result(name, "vllm", list(rows), arguments or {}, **(what | changes)))


def test_the_readme_is_up_to_date():
    """What stands between the markers is what the committed results say; `python -m benchmarks.readme` mends it."""
    text = readme.README.read_text(encoding="utf-8")
    assert readme.with_figures(text, readme.headlines(COMMITTED)) == text


def test_the_page_of_figures_is_up_to_date():
    """It holds every committed result; `python -m benchmarks.readme` mends it."""
    assert readme.FIGURES.read_text(encoding="utf-8") == figures.page(COMMITTED)


@pytest.mark.parametrize("headline", [each for each in readme.HEADLINES if each.result in COMMITTED], ids=str)
def test_a_headline_has_its_row(headline):
    """A row that is renamed takes its headline along; only a result that is not there yet may be missing."""
    assert readme.row_of(headline, COMMITTED[headline.result]) is not None


def test_a_headline_has_machine_date_and_command():
    """What it found, what it must reach, and how to see for oneself; without a result it claims nothing."""
    stall = next(each for each in readme.HEADLINES if each.result == "switching" and "stall" in each.row)
    found = result(rows=[at_most(stall.row, 0.41, 0.3, "s")])
    measured = "410 ms | <= 300 ms | **no** | Z80, no GPU, 2026-11-21 | `python -m benchmarks.switching` |"
    assert f"| {stall.what} | {measured}" in readme.headlines({"switching": found}).splitlines()
    missing = f"| {stall.what} | not measured yet |  |  |  | `python -m benchmarks.switching` |"
    assert missing in readme.headlines({}).splitlines()
    assert missing in readme.headlines({"switching": result()}).splitlines()


def test_a_result_becomes_a_table_with_its_circumstances():
    """Figures have units, targets and verdicts, what they depend on stands above, and the others are folded away."""
    rows = [at_most("cut-over stall p95", 0.21, 0.3, "s"), at_most("lost", 1, 0), shown("switches", 50)]
    dirty = {"id": "0123456789abcdef", "dirty": True}
    found = result(rows=rows, arguments={"quick": False, "minutes": 8.0}, notes=["It rained."], commit=dirty)
    assert figures.page({"switching": found}).partition("## switching\n\n")[2].splitlines() == [
        "Switches in the middle of a recorded workload, and what its requests notice.",
        "",
        "    python -m benchmarks.switching --minutes 8",
        "",
        "On Z80, no GPU, 2 cores, 24 GiB, vLLM 0.32.0, 2026-11-21, commit 0123456789 with changes. It rained.",
        "",
        "| what | found | must reach | met |",
        "|---|---:|---|---|",
        "| cut-over stall p95 | 210 ms | <= 300 ms | yes |",
        "| lost | 1 | <= 0 | **no** |",
        "",
        "<details><summary>Beside it</summary>",
        "",
        "| what | found |",
        "|---|---:|",
        "| switches | 50 |",
        "",
        "</details>",
    ]


def test_without_results_no_figure_is_claimed():
    """An empty folder yields a sentence, not an empty table."""
    assert figures.page({}).endswith("\n\nNo result is committed yet.\n")


def test_a_target_may_be_a_range():
    """Coverage of an interval must be neither too little nor too much."""
    page = figures.page({"kills": result("kills", [Row("inside", 0.95, "", "0.93 to 0.98", True)])})
    assert "| inside | 0.95 | 0.93 to 0.98 | yes |" in page


def test_gpus_are_counted_by_name():
    """On a GPU machine the processor is of no interest."""
    gpus = [{"name": "NVIDIA H200", "driver": "580"}] * 2
    assert figures.measured_on(result(machine=NO_GPU | {"gpus": gpus})) == "2 x NVIDIA H200"


@pytest.mark.parametrize(
    ("name", "arguments", "command"),
    [
        ("overhead", {"quick": False, "engine": "vllm", "model": "auto"}, "python -m benchmarks.overhead"),
        ("faults.day", {"hours": 24.0}, "python -m benchmarks.faults day --hours 24"),
        ("gpu.pacing", {"paces": [0.0, 0.03]}, "python -m benchmarks.gpu.pacing --paces 0 0.03"),
        ("gpu.trace", {"rounds": 0, "with": []}, "python -m benchmarks.gpu.trace --rounds 0"),
        ("closed_loop_h200", {"trials": 40}, "python -m benchmarks.gpu.closed_loop --trials 40"),
        ("optimisers", {"only_cached": True, "cache": "/tmp/x"}, "python -m benchmarks.optimisers"),
        (
            "switching",
            {"model": "/models/x", "quick": True},
            "python -m benchmarks.switching --model /models/x --quick",
        ),
    ],
)
def test_a_result_names_the_command_that_measures_it_again(name, arguments, command):
    """With the options that shaped it, and without those that only say where something was kept."""
    assert figures.command_of(result(name, arguments=arguments)) == command


def test_what_was_added_up_names_the_commands_of_its_parts():
    """Each writes the file that the last one reads; where it lay says nothing."""
    part = {"tpot": [0.2], "rounds": 2, "trace": "azure_2023_conv.csv.gz"}
    arguments = {"rounds": 0, "add_to": ["/tmp/a.json"]}
    assert figures.commands_of(result("gpu.trace", arguments=arguments, details={"parts": [part]})) == [
        "python -m benchmarks.gpu.trace --tpot 0.2 --rounds 2 --output a.json",
        "python -m benchmarks.gpu.trace --rounds 0 --add-to a.json",
    ]


def test_what_was_judged_later_names_the_command_of_its_recording():
    """Without it there is nothing to judge."""
    assert figures.commands_of(result("gpu.step_cost", arguments={"recordings": ["/tmp/a.jsonl.gz"]})) == [
        "python -m benchmarks.gpu.trace --recording a.jsonl.gz",
        "python -m benchmarks.gpu.step_cost --recordings a.jsonl.gz",
    ]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("gpu.trace_code_fp8", "gpu.trace"), ("gpu.parallel_swing_tp2", "gpu.parallel_swing"),
        ("gpu.saturated_short_cudagraph_mode_FULL", "gpu.saturated"), ("closed_loop_h200", "gpu.closed_loop"),
        ("surrogate_h200", "surrogate_h200"),
    ],
)  # fmt: skip
def test_a_result_may_have_more_in_its_name_than_its_module(name, module):
    """What else was measured stands behind it."""
    assert figures.module_of(name) == module


def test_the_front_page_names_what_is_compared_and_not_how_long():
    """What a reader types there measures the same thing; the page of figures has every option."""
    arguments = {"trace": "azure_2023_code.csv.gz", "start": 1020.0, "slice": 120.0, "with": ["quantization=fp8"]}
    short = figures.short_command_of(result("gpu.trace_code_fp8", arguments=arguments))
    telling = "--trace azure_2023_code.csv.gz --start 1020 --with quantization=fp8"
    assert short == f"python -m benchmarks.gpu.trace {telling}"
    assert figures.short_command_of(result("gpu.trace", arguments={"start": 600.0})) == "python -m benchmarks.gpu.trace"


@pytest.mark.parametrize("name", COMMITTED)
def test_every_committed_result_has_the_module_that_measured_it(name: str):
    """Its first sentence introduces the figures; a renamed module takes its result along."""
    assert figures.purpose(name).endswith((".", ":"))


def test_a_readme_without_markers_is_refused():
    """Nothing is overwritten where the markers were lost."""
    with pytest.raises(ValueError, match="needs the lines"):
        readme.with_figures("# Reconfigure\n", "figures")


def test_results_are_read_by_name(tmp_path: Path):
    """Each file is one result, named like it."""
    Result("kills", "vllm", [shown("kills", 10)], {}).write(tmp_path / "kills.json")
    assert figures.load(tmp_path)["kills"]["rows"][0]["what"] == "kills"
