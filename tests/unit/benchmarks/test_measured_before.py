"""Results that are worked out from what was measured before, maybe on another machine."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import trace
from benchmarks.gpu.recording import origin_of
from benchmarks.harness.command import Findings, result_of
from reconfigure_daemon.errors import RequestInvalid

ORIGIN = {
    "machine": {"cpu": "far away", "gpus": [{"name": "NVIDIA H200", "driver": "1"}]},
    "versions": {"vllm": "0.24.0"},
    "commit": {"id": "0123456789", "dirty": False},
    "date": "2026-11-28T20:00:00+00:00",
}


def span(tokens: int) -> dict[str, Any]:
    return {"output_tokens": tokens, "requests": 10, "good": 10, "failed": 0, "ttft_p50_s": 0.04, "ttft_p99_s": 0.1,
            "tpot_p50_s": 0.01, "tpot_p99_s": 0.02}  # fmt: skip


def part(path: Path, ratios: tuple[float, float], source: str = "measured") -> Path:
    """A part with one pair at 200 ms: joules against stock in the first and in the last minute."""
    kept = [
        {"round": 0, "tpot_limit_s": limit_s, "joules_per_token": sum(minutes) / 2, "mean_power_w": 300.0,
         "minutes": list(minutes), "seen": span(1000), "measured_at": ORIGIN["date"]}
        for limit_s, minutes in ((None, (1.0, 1.0)), (0.2, ratios))
    ]  # fmt: skip
    details = {"slices": kept, "energy_source": source}
    path.write_text(json.dumps({**ORIGIN, "arguments": {"start": 600.0}, "details": details}))
    return path


def added_up(monkeypatch: pytest.MonkeyPatch, folder: Path, *parts: Path) -> tuple[int, dict[str, Any]]:
    output = folder / "sum.json"
    line = ["trace", "--rounds", "0", "--tpot", "0.2", "--output", str(output), "--add-to", *map(str, parts)]
    monkeypatch.setattr("sys.argv", line)
    code = trace.main()
    return code, json.loads(output.read_text()) if output.exists() else {}


def test_parts_count_as_rounds_of_one_measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a GPU here; the result has the machine of the parts, and says when and by which code they were made."""
    _, found = added_up(
        monkeypatch, tmp_path, part(tmp_path / "a.json", (0.6, 0.5)), part(tmp_path / "b.json", (0.5, 0.4))
    )
    rows = {row["what"].partition(": ")[2]: row["value"] for row in found["rows"]}
    assert rows["joules per output token, governed / stock, median of 2 pairs"] == pytest.approx(0.5)
    assert rows["the same in the worst minute"] == pytest.approx(0.6)
    assert rows["the same in the last minute of each slice, median"] == pytest.approx(0.45)
    assert found["machine"] == ORIGIN["machine"]
    assert found["versions"] == ORIGIN["versions"]
    assert found["details"]["parts"] == [{"start": 600.0}] * 2
    assert any("at 2026-11-28T20:00:00+00:00 by commit 0123456" in note for note in found["notes"])


def test_adding_up_needs_parts_that_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    """Nothing, or measured joules beside estimated ones, add up to nothing."""
    assert added_up(monkeypatch, tmp_path) == (1, {})
    assert "--add-to needs parts" in capsys.readouterr().err
    estimated = part(tmp_path / "b.json", (0.5, 0.4), source="estimated")
    assert added_up(monkeypatch, tmp_path, part(tmp_path / "a.json", (0.6, 0.5)), estimated) == (1, {})
    assert "estimated" in capsys.readouterr().err


def test_what_is_measured_here_is_of_this_machine(tmp_path: Path) -> None:
    """Findings without an origin keep the machine that they were found on."""
    parser = trace.command.options("A benchmark.")
    here = result_of("x", parser.parse_args([]), Findings())
    there = result_of("x", parser.parse_args([]), Findings(measured=[ORIGIN]))
    assert here.machine["cpu"] != "far away"
    assert there.machine["cpu"] == "far away"
    assert there.commit == here.commit


def test_a_recording_says_where_it_was_made(tmp_path: Path) -> None:
    """What does not is refused by name."""
    path = tmp_path / "recording.jsonl.gz"
    with pytest.raises(RequestInvalid, match="recording"):
        origin_of(path)
    for line, refused in (({"knobs": {}}, True), ({"origin": ORIGIN}, False)):
        with gzip.open(path, "wt", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        if refused:
            with pytest.raises(RequestInvalid, match="no recording"):
                origin_of(path)
        else:
            assert origin_of(path) == ORIGIN
