"""`reconfigure tune`: what is asked of the daemon, and what is shown."""

import json
from pathlib import Path

import pytest

from reconfigure_daemon.cli import tune as verb
from reconfigure_daemon.cli.tune_options import energy_j
from reconfigure_daemon.cli.tune_progress import grown, session_line, trial_line
from tests.told import words_of
from tests.unit.cli.conftest import TUNING

TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:17:0{second}.0000000,{100 + second},{10 + second}\n" for second in range(5)
)


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return str(path)


def test_a_traces_lengths_and_rate_are_offered_and_nothing_else_of_it(run, daemon, trace):
    """Five requests in four seconds; budgets in their base units."""
    done = run("tune", "--trace", trace, "--trials", "20", "--budget", "2h", "--energy", "3kWh", "--window", "8s")
    assert done.exit_code == 0, done.output
    ((path, asked),) = daemon.tuned
    assert path == "/v1/tune"
    assert asked["lengths"] == [[100 + i, 10 + i] for i in range(5)]
    assert asked["arrival_rate_rps"] == pytest.approx(1.25)
    assert (asked["trials"], asked["budget_s"], asked["budget_j"]) == (20, 7200, 10.8e6)
    assert (asked["window_s"], asked["saturated_s"], asked["space"]) == (8, 4, "discrete")


def test_it_ends_with_the_front_and_what_was_before(run, daemon):
    """The table has the front, highest throughput first, then the start; failures are counted, the error is told."""
    done = run("tune", "--recorded")
    for words in (
        "Finished in 1m30s: 4 trials were measured.",
        "4 configurations, 1 of them do not work, 3600 J (estimated), under 4 requests/s of 512 + 128 tokens.",
        "2 (sobol)",
        "max_num_seqs=8",
        "1 (start)",
        "J per output token before it was measured was off by 4.0% on average",
    ):
        assert words in done.stdout
    assert done.stdout.index("2 (sobol)") < done.stdout.index("4 (nehvi)")


def test_it_says_whether_anything_is_foretold_now(run, daemon):
    """A short session may teach too little, or nothing to rely on."""
    assert "Trusted: fitted" in run("tune", "--recorded").stdout
    daemon.learned["/v1/surrogate"] |= {"trusted": False, "faults": ["energy is no better than a straight line"]}
    distrusted = run("tune", "--recorded").stdout
    assert "Not to be trusted: fitted" in distrusted
    assert "energy is no better than a straight line" in distrusted
    daemon.learned["/v1/surrogate"] |= {"fitted": False, "faults": [], "basis": "10 trials of 12 needed"}
    assert "Nothing is foretold yet: 10 trials of 12 needed." in run("tune", "--recorded").stdout


def test_each_trial_is_a_line_where_there_is_no_terminal(run, daemon):
    """In a log, too, the front is seen to grow."""
    done = run("tune", "--recorded")
    assert "4 of 4 (nehvi): 0.25 J/token, 200 tokens/s, on the front; max_num_seqs=8" in done.stderr
    assert "3 of 4 does not work, max_num_seqs=64 block_size=64: out of memory" in done.stderr


def test_an_interrupt_ends_the_session_and_says_how_to_go_on(run, daemon, monkeypatch):
    """Ctrl-C asks the daemon to stop and waits until the configuration from before is back; exit code 1."""
    daemon.learned["/v1/tune"] |= {"state": "running", "phase": "measures", "ended_at": None}

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(verb.time, "sleep", interrupted)
    done = run("tune", "--recorded")
    assert done.exit_code == 1
    assert [path for path, _ in daemon.tuned] == ["/v1/tune", "/v1/tune/stop"]
    assert "Stopped: stopped by the operator." in done.stdout


def test_resume_and_stop_and_watch_ask_for_nothing_new(run, daemon):
    """Each is one request, or none at all."""
    run("tune", "--resume", "--trials", "60")
    run("tune", "--watch")
    run("tune", "--stop")
    assert daemon.tuned == [("/v1/tune/resume", {"trials": 60}), ("/v1/tune/stop", {})]


@pytest.mark.parametrize("words", [[], ["--recorded", "--resume"], ["--recorded", "--stop"]])
def test_one_thing_at_a_time(run, daemon, words):
    """Without a load, or with two wishes, nothing is asked of the daemon."""
    done = run("tune", *words)
    assert done.exit_code == 2
    assert "name one of" in done.stderr
    assert daemon.tuned == []


def test_a_trace_of_nothing_is_refused(run, daemon, trace):
    """A stretch without requests is no load."""
    done = run("tune", "--trace", trace, "--start", "1h")
    assert done.exit_code == 2
    assert "nothing of it is left to offer" in done.stderr


def test_a_trace_with_a_bad_line_is_refused_unless_told_to_leave_it_out(run, daemon, trace):
    """The line is named, and the way that is told is one that this verb has."""
    with Path(trace).open("a") as lines:
        lines.write("nonsense\n")
    done = run("tune", "--trace", trace)
    assert done.exit_code == 2
    assert "trace.csv:7: found" in words_of(done.stderr)
    assert "--skip-bad" in done.stderr
    assert daemon.tuned == []
    assert run("tune", "--trace", trace, "--skip-bad").exit_code == 0


def test_programs_get_the_session_as_one_document(run, daemon):
    """And no progress on the way."""
    done = run("tune", "--recorded", "--json")
    assert json.loads(done.stdout)["growth"] == [0.4, 0.8, 0.8, 1.0]
    assert done.stderr == ""


def test_front_and_calibration_are_drawn(run, daemon, tmp_path):
    """HTML and PNG of each."""
    done = run("tune", "--watch", "--plots", str(tmp_path / "plots"))
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("pareto", "calibration-energy", "calibration-throughput")
                     for kind in ("html", "png")}  # fmt: skip


def test_a_refusal_is_told_in_the_daemons_words(run, daemon):
    """E.g. because clients are being served."""
    daemon.fault = (409, {"kind": "request_refused", "message": "3 requests of clients are live"})
    done = run("tune", "--recorded")
    assert done.exit_code == 1
    assert "3 requests of clients are live" in done.stderr


@pytest.mark.parametrize(("text", "joules"), [("3kWh", 10.8e6), ("500 kJ", 5e5), ("2Wh", 7200), ("1MJ", 1e6)])
def test_energy_is_written_as_people_do(text, joules):
    """Amounts with their unit."""
    assert energy_j(text) == pytest.approx(joules)


def test_energy_without_a_unit_is_refused(run, daemon):
    """With what is allowed."""
    done = run("tune", "--recorded", "--energy", "3")
    assert done.exit_code == 2
    assert "e.g. 3kWh" in done.stderr


def test_the_bar_shows_the_front_growing():
    """Size, growth, the best of each objective, and what happens now."""
    running = TUNING.model_copy(update={"state": "running", "phase": "measures", "current": {"max_num_seqs": 16}})
    line = session_line(running)
    assert line == "front of 2 ▄▇▇█, best 0.25 J/token and 1200 tokens/s; measures max_num_seqs=16"
    assert session_line(running.model_copy(update={"trials": [], "growth": []})).startswith("nothing measured yet")
    assert grown([0.0, 0.5, 1.0]) == "▁▅█"
    assert "as before the session" in trial_line(TUNING.trials[0], TUNING)


def test_a_stop_that_stops_has_succeeded(run, daemon):
    """Exit code 0; a session that was stopped by another is no success of who waited for it."""
    assert run("tune", "--stop").exit_code == 0
    assert run("tune", "--watch").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--watch", "--trials", "20"],
        ["--stop", "--window", "8s"],
        ["--resume", "--budget", "2h"],
        ["--recorded", "--rate", "3"],
    ],
)
def test_an_option_that_would_be_lost_is_refused(run, daemon, words):
    """By its name and that of the form it is given with."""
    done = run("tune", *words)
    assert done.exit_code == 2
    assert f"{words[1]} says nothing beside {words[0]}" in words_of(done.stderr)
    assert daemon.tuned == []


@pytest.mark.parametrize("as_json", [False, True])
def test_plots_that_cannot_be_drawn_are_refused_before_the_session(run, daemon, tmp_path, as_json):
    """Hours of measuring do not end in a fault that was there at the start."""
    (tmp_path / "file").write_text("")
    done = run("tune", "--recorded", "--plots", str(tmp_path / "file" / "plots"), *(["--json"] if as_json else []))
    assert done.exit_code == 2
    assert "which cannot be made (Not a directory); name another folder" in done.output
    assert daemon.tuned == []


def test_a_plot_that_fails_at_the_end_does_not_take_the_table_with_it(run, daemon, tmp_path):
    """The front is told first."""
    (tmp_path / "pareto.html").mkdir()
    done = run("tune", "--watch", "--plots", str(tmp_path))
    assert done.exit_code == 2
    assert "Finished in 1m30s: 4 trials were measured." in done.stdout
    assert "pareto.html cannot be drawn (Is a directory)" in done.stderr
