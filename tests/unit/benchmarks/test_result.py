"""A result holds all that its figures depend on, and only a measurement becomes one."""

import json
import subprocess
from io import StringIO
from pathlib import Path

from rich.console import Console

from benchmarks.harness.machine import commit, describe_machine, versions
from benchmarks.harness.result import RESULTS, Result, show
from benchmarks.harness.rows import at_most, shown

ROWS = [at_most("stall", 0.2, 0.3, "s"), shown("requests", 7)]


def shown_text(result: Result) -> str:
    text = StringIO()
    show(result, Console(file=text, width=100))
    return text.getvalue()


def test_a_result_is_written_with_its_machine(tmp_path: Path):
    """The file names machine, versions, date and commit beside its rows."""
    path = tmp_path / "folder" / "result.json"
    Result("switching", "vllm", ROWS, {"quick": False}).write(path)
    written = json.loads(path.read_text())
    assert {"machine", "versions", "date", "commit", "rows", "arguments", "notes"} <= written.keys()
    assert written["rows"][0] == {"what": "stall", "value": 0.2, "unit": "s", "target": "<= 0.3", "met": True}
    assert written["machine"]["cores"] >= 1
    assert written["versions"]["python"].startswith("3.")


def test_only_full_runs_of_a_real_engine_are_results():
    """An emulated or a quick run has no place among the results, and its table says why."""
    assert Result("switching", "vllm", ROWS, {}).path == RESULTS / "switching.json"
    emulated, quick = Result("switching", "emulated", ROWS, {}), Result("switching", "vllm", ROWS, {}, quick=True)
    assert emulated.path is None
    assert quick.path is None
    assert "EMULATED" in shown_text(emulated)
    assert "--quick" in shown_text(quick)


def test_one_missed_target_is_a_miss():
    """A result is met only if every row with a target is."""
    assert Result("switching", "vllm", ROWS, {}).met
    assert not Result("switching", "vllm", [*ROWS, at_most("TTFT", 2, 1, "s")], {}).met
    assert "no" in shown_text(Result("switching", "vllm", [at_most("TTFT", 2, 1, "s")], {}))


def test_a_changed_file_makes_the_commit_dirty(tmp_path: Path):
    """A figure of code that was not committed says so; results and unknown files do not count."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert commit(tmp_path) == {"id": None, "dirty": False}
    git("init")
    (tmp_path / "code").write_text("1")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "old.json").write_text("{}")
    git("add", ".")
    git("commit", "-m", "one")
    (tmp_path / "benchmarks" / "results" / "old.json").write_text("[]")
    (tmp_path / "note").touch()
    found = commit(tmp_path)
    assert len(found["id"]) == 40
    assert not found["dirty"]
    (tmp_path / "code").write_text("2")
    assert commit(tmp_path)["dirty"]


def test_the_machine_is_named():
    """The processor has a name, and the list of GPUs is there even without any."""
    assert describe_machine()["cpu"]
    assert isinstance(describe_machine()["gpus"], list)
    assert versions()["reconfigure"]
