"""The load that swings on several GPUs, and what is judged of it."""

import json
from argparse import Namespace
from dataclasses import asdict, replace

import pytest

from benchmarks.gpu import parallel_swing
from benchmarks.gpu.parallel_swing import (
    Arm,
    Round,
    arrivals,
    daemon_changes,
    findings_of,
    name_of,
    part_in,
    rate_rps,
    rows_of,
)
from benchmarks.harness.requests import seen_in
from benchmarks.harness.trace import trace_path
from reconfigure_daemon.errors import RequestInvalid

SWING = Namespace(low=2.5, times=10.0, length=480.0, trace="azure_2023_conv.csv.gz")


def arm(joules_per_token):
    seen = replace(seen_in([], 0, 480), requests=100, good=100)
    return Arm(joules_per_token, 300.0, [joules_per_token] * 4, seen, [(0.0, 4), (60.0, 1)])


def round_of(ratio):
    return Round(arm(1.0), arm(ratio), ["adjust by daemon: to see"], "2026-11-30T03:00:00+00:00")


def test_the_rate_swings_tenfold_and_comes_back():
    """Low for a quarter, high from a half to five eighths, low for the last eighth."""
    rates = [rate_rps(SWING, share / 8) for share in range(9)]
    assert rates == pytest.approx([2.5, 2.5, 2.5, 13.75, 25, 25, 13.75, 2.5, 2.5])


def test_the_daemon_spreads_over_all_gpus_at_first():
    """By tensor parallelism, or with a replica on each; the other knob is not there."""
    for replicas, knob in ((False, "tensor_parallel_size"), (True, "data_parallel_size")):
        changes = daemon_changes(Namespace(replicas=replicas, tpot=0.05), 2)
        spread = {name: of for name, of in changes["space"].items() if name.endswith("parallel_size")}
        assert spread == {knob: {"values": [1, 2]}}
        assert changes["objectives"]["energy"][knob] == 2


def test_arrivals_follow_the_rate():
    """As many in each part as its rate says, give or take what chance does, in order and with the trace's lengths."""
    try:
        trace_path(SWING.trace)
    except RequestInvalid as absent:
        pytest.skip(str(absent))
    requests = list(arrivals(SWING, seed=0))
    dues = [request.due_s for request in requests]
    assert dues == sorted(dues)
    assert [request.index for request in requests] == list(range(len(requests)))
    assert sum(due < 120 for due in dues) == pytest.approx(300, abs=60)
    assert sum(240 <= due < 300 for due in dues) == pytest.approx(1500, abs=130)
    assert len({request.prompt_tokens for request in requests}) > 100


def test_only_the_number_of_gpus_that_was_asked_for_has_a_target():
    """Others are results of their own, for with fewer less can be left idle."""
    names = [name_of(Namespace(gpus=gpus, replicas=replicas)) for gpus, replicas in ((4, False), (2, False), (2, True))]
    assert names == ["gpu.parallel_swing", "gpu.parallel_swing_tp2", "gpu.parallel_swing_dp2"]
    four, two = (rows_of([round_of(0.4)], gpus)[0] for gpus in (4, 2))
    assert (four.value, four.met, four.target) == (0.4, False, "<= 0.35")
    assert (two.value, two.met) == (0.4, None)


def part(folder, *ratios, **arguments):
    path = folder / f"{ratios[0]}.json"
    found = findings_of([round_of(ratio) for ratio in ratios], SWING, 4, "measured")
    given = {"gpus": 4, "trace": SWING.trace, "low": 2.5, "times": 10.0, "length": 480.0, **arguments}
    origin = {"machine": {}, "versions": {}, "date": "2026-11-30", "commit": {"id": "0123456789", "dirty": False}}
    path.write_text(json.dumps({"details": found.details, "arguments": given, **origin}))
    return path


def added_up(monkeypatch, folder, *parts):
    output = folder / "sum.json"
    line = ["parallel_swing", "--rounds", "0", "--output", str(output), "--add-to", *map(str, parts)]
    monkeypatch.setattr("sys.argv", line)
    return parallel_swing.main(), json.loads(output.read_text()) if output.exists() else {}


def test_rounds_of_several_runs_are_added_up(monkeypatch, tmp_path):
    """As if they had been measured at once: the median is of all of them, and so is what an arm got."""
    path = part(tmp_path, 0.3, 0.34)
    assert [asdict(Round.of_json(kept)) for kept in json.loads(path.read_text())["details"]["rounds"]] == [
        asdict(round_of(0.3)), asdict(round_of(0.34)),
    ]  # fmt: skip
    code, found = added_up(monkeypatch, tmp_path, path, part(tmp_path, 0.4))
    first, least, highest = found["rows"][:3]
    assert code == 0
    assert (first["what"], first["value"], first["met"]) == (
        "joules per output token, daemon / stock at TP=4, median of 3 pairs", pytest.approx(0.34), True,
    )  # fmt: skip
    assert (least["value"], highest["value"]) == (pytest.approx(0.3), pytest.approx(0.4))
    assert any("by commit 0123456" in note for note in found["notes"])


def test_rounds_of_another_load_are_not_added_up(monkeypatch, tmp_path, capsys):
    """Nor is what is no result of this benchmark."""
    assert added_up(monkeypatch, tmp_path, part(tmp_path, 0.3, low=5.0)) == (1, {})
    assert "was measured with low 5.0 and not 2.5" in capsys.readouterr().err
    (tmp_path / "odd.json").write_text('{"details": {}}')
    assert added_up(monkeypatch, tmp_path, tmp_path / "odd.json") == (1, {})
    assert "is no result of benchmarks.gpu.parallel_swing" in capsys.readouterr().err


def test_a_round_that_is_half_done_is_kept_but_no_part(tmp_path):
    """The arm that waits for its other counts for nothing."""
    path = part(tmp_path, 0.3)
    written = json.loads(path.read_text())
    written["details"]["half"] = {"daemon": asdict(arm(0.4))}
    path.write_text(json.dumps(written))
    assert len(part_in(path)["details"]["rounds"]) == 1
