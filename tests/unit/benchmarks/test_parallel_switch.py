"""Between all GPUs and one: what is judged of the streams, and what is only told."""

from pathlib import Path

import pytest

from benchmarks.gpu.parallel_switch import add_rows, settings_for
from benchmarks.gpu.switch import OUTPUT_TOKENS, Run
from benchmarks.harness import command
from reconfigure_daemon.ports import SwitchMode, SwitchReport


def run(*first_tokens, lengths=OUTPUT_TOKENS, live_requests=2):
    report = SwitchReport(
        outcome="applied", mode=SwitchMode.OVERLAPPED, detail="", enforced={}, duration_s=1.0,
        live_requests=live_requests, stall_s=[0.01, 0.02, 0.03],
    )  # fmt: skip
    return Run([[token] * lengths for token in first_tokens], [0.1, 0.2], report)


def rows(runs, unswitched):
    findings = command.Findings()
    add_rows("down", runs, 2, unswitched, findings)
    return {row.what.removeprefix("down, 2 live streams: "): row for row in findings.rows}


def test_replicas_are_told_apart_by_their_tokens_and_others_are_not():
    """How many streams differ from an undisturbed run, beside how many do in a second one; neither is a target."""
    told = rows([run(1, 3), run(1, 2)], [run(1, 2), run(4, 5)])
    assert told["streams with other tokens than unswitched"].value == 1
    assert told["the same between two unswitched runs"].value == 2
    assert all(told[what].met is None for what in told if "unswitched" in what)
    assert not any("unswitched" in what for what in rows([run(1, 3)], []))


@pytest.mark.parametrize(
    ("odd", "row"), [({"lengths": 9}, "streams lost or cut short"), ({"live_requests": 1}, "streams moved")]
)
def test_what_is_lost_misses_its_target(odd, row):
    """Whatever the knob."""
    assert rows([run(1, 2)], [])[row].met
    assert rows([run(1, 2, **odd)], [])[row].met is False


@pytest.mark.parametrize("knob", ["tensor_parallel_size", "data_parallel_size"])
def test_it_begins_on_all_gpus(knob):
    """Of the knob that was asked for."""
    default = settings_for(knob, 4, Path("/model")).configuration_space().default()
    assert default[knob] == 4
