"""The verbs that look: everything the daemon knows is shown, and nothing is dressed up."""

from __future__ import annotations

import json
import time

import pytest

from reconfigure_daemon.cli import views
from reconfigure_daemon.cli.completion import complete_assignment
from reconfigure_daemon.control_api.openapi import OPERATIONS
from reconfigure_daemon.ports import ActionState


def test_status_shows_what_serves_and_how_well(run, daemon):
    """One page: daemon, objective, engine, workload, energy with its source, knobs, last decision, notices."""
    done = run("status")
    assert done.exit_code == 0
    shown = " ".join(done.stdout.split())
    for words in (
        "daemon 0.1.0, pid 40, up 1h30m",
        "automatic changes on",
        "objective energy",
        "emulated 1, serving, pid 41, an emulation: its figures are no measurements",
        "SmolLM2 at http://127.0.0.1:8000",
        "booted in 4.2s",
        "5 live, 0 lost since start",
        "last 30s 2 requests/s in, 55 finished, 91.0% within the SLO, 100 tokens/s out",
        "TTFT 40ms/90ms/200ms",
        "0.2 J per output token, prefill and idle time included (estimated)",
        "1234.5 J since the daemon started, now 45.6 W (estimated)",
        "governor active; left of the SLO's limits: TTFT 93%, TPOT -8%",
        "J per output token: 0.251 now (estimated), 0.25 expected, 0.5 with stock settings by the model, 50% saved",
        "Decision 17",
        "cli asked for block_size=32 [cold] and max_num_seqs=64.",
        "No energy counter was found: joules are an estimate.",
        "max_num_seqs 64 8 differs",
        "block_size 32 32",
    ):
        assert words in shown


def test_status_shows_the_next_change_by_the_calendar(run, daemon):
    """Which objective, when in its own time zone, how soon, and by which schedule."""
    coming = daemon.calendar.coming[0].model_copy(update={"begins_at": time.time() + 7200.5})
    daemon.status = {**daemon.status, "next_change": coming.model_dump(mode="json")}
    shown = " ".join(run("status").stdout.split())
    assert "next change energy at " in shown
    assert "Europe/Berlin (in 2h, schedule night)" in shown


def test_schedule_shows_each_change_in_its_own_time_zone(run, daemon):
    """20:00 UTC in May is 22:00 in Berlin, and eight hours later is the next morning."""
    shown = " ".join(run("schedule", "--days", "3").stdout.split())
    assert daemon.queries[-1] == {"days": "3"}
    assert "Outside every schedule now." in shown
    assert "Thu 2027-05-06 22:00 Europe/Berlin energy night Fri 2027-05-07 06:00" in shown
    assert json.loads(run("schedule", "--json").stdout)["coming"][0]["schedule"] == "night"


def test_an_empty_calendar_says_so(run, daemon):
    """No table without rows; what holds now is told all the same."""
    span = daemon.calendar.coming[0]
    daemon.calendar = daemon.calendar.model_copy(update={"in_force": span, "coming": []})
    shown = " ".join(run("schedule").stdout.split())
    assert "By the calendar now: energy, schedule night since Thu 2027-05-06 22:00." in shown
    assert "Nothing begins within 7 days." in shown


def test_status_without_an_engine_says_why(run, daemon):
    """An engine that is gone is told with its last error, and unknown values are called unknown, not different."""
    gone = {"engine": None, "engine_error": "nobody answers", "enforced": None, "window": None, "last_decision": None}
    energy = {"source": "unknown", "energy_j": None, "power_w": None, "devices": []}
    daemon.status = {**daemon.status, **gone, "energy": energy, "paused": True, "objective_until": time.time() + 3600}
    shown = " ".join(run("status").stdout.split())
    assert "engine not reachable: nobody answers" in shown
    assert "paused: only what operators ask for" in shown
    assert "energy until" in shown
    assert "energy unknown" in shown
    assert "max_num_seqs 64 unknown" in shown
    assert "differs" not in shown


def test_status_shows_the_running_action(run, daemon):
    """An action is shown with its phase and its age."""
    action = ActionState(kind="switch", since=time.time() - 95, phase="boot", detail="loading weights")
    daemon.status = {**daemon.status, "action": action.model_dump(mode="json")}
    assert "switch: boot for 1m3" in run("status").stdout


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"enabled": False}, "governor off"),
        ({"standing_by": "automatic changes are paused"}, "governor stands by: automatic changes are paused"),
        ({"unmet": "TPOT would come to 9 ms of 4 ms"}, "no setting holds the SLO: TPOT would come to 9 ms of 4 ms"),
    ],
)
def test_a_governor_that_does_not_do_its_work_says_why(run, daemon, facts, words):
    """Switched off, standing by, or with limits that no setting holds."""
    daemon.status = {**daemon.status, "governor": {**daemon.status["governor"], **facts}}
    assert words in " ".join(run("status").stdout.split())


def test_a_boot_is_no_error(run, daemon):
    """While the first core boots, the status says so once, and calls nothing an error."""
    engine = {**daemon.status["engine"], "phase": "booting"}
    action = ActionState(kind="boot", since=time.time() - 95, phase="boot").model_dump(mode="json")
    daemon.status = {**daemon.status, "engine": engine, "engine_error": "being started", "action": action}
    shown = run("status").stdout
    assert "boot for 1m3" in shown
    assert "boot: boot" not in shown
    assert "being started" not in shown


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_ends_with_an_interrupt_and_that_is_no_fault(run, daemon, monkeypatch, as_json):
    """`--watch` asks again until interrupted."""
    naps = iter([None])

    def nap(_seconds: float) -> None:
        if next(naps, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr(views.time, "sleep", nap)
    done = run("status", "--watch", *(["--json"] if as_json else []))
    assert done.exit_code == 0
    assert len(daemon.queries) == 2
    if as_json:
        assert [json.loads(line)["pid"] for line in done.stdout.splitlines()] == [40, 40]


def test_history_shows_decisions_newest_first_with_reasons(run, daemon):
    """A row per decision; the options reach the daemon."""
    done = run("history", "--limit", "5", "--before", "30")
    assert daemon.queries == [{"limit": "5", "before": "30"}]
    shown = " ".join(done.stdout.split())
    assert "17 1970-01-1" in shown
    assert "cli redeploy max_num_seqs=64 block_size=32 applied cli asked for block_size=32 [cold]" in shown


def test_explain_tells_the_last_decision_in_sentences(run, daemon):
    """What, why, from what to what, and what it measured."""
    done = run("explain")
    assert daemon.queries[0] == {"limit": "1"}
    for words in (
        "Decision 17",
        "Why: cli asked",
        "cold: in a new core",
        "Outcome after 11.9s: applied",
        "stall p95 58ms",
    ):
        assert words in done.stdout


@pytest.mark.parametrize("verb", ["history", "explain"])
def test_before_the_first_decision_there_is_nothing_to_tell(run, daemon, verb):
    """An empty history is not an error."""
    daemon.decisions = []
    done = run(verb)
    assert done.exit_code == 0
    assert "No decision has been made yet" in done.stdout


@pytest.mark.parametrize(("verb", "key"), [("status", "pid"), ("history", "decisions"), ("explain", "decisions")])
def test_each_view_is_one_document_for_programs(run, daemon, verb, key):
    """--json is the daemon's own answer."""
    assert key in json.loads(run(verb, "--json").stdout)


def test_completion_offers_the_knobs_with_their_present_values(daemon, monkeypatch):
    """Names come from the running daemon; without one there is silence, not an error."""
    assert complete_assignment("max") == ["max_num_seqs=64"]
    monkeypatch.setenv("RECONFIGURE_URL", "http://127.0.0.1:1")
    assert complete_assignment("max") == []


def test_watching_into_a_pipe_prints_every_page(run, daemon, monkeypatch):
    """A log gets each page below the one before, when it comes."""
    naps = iter([None, None])

    def nap(_seconds: float) -> None:
        if next(naps, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr(views.time, "sleep", nap)
    assert run("status", "--watch").stdout.count("0.1.0, pid 40") == 3


def test_as_much_history_may_be_asked_for_as_the_daemon_gives(run, daemon):
    """One bound for both; more is refused before the daemon is asked."""
    most = OPERATIONS["GET", "/v1/decisions"].numbers["limit"]
    assert run("history", "--limit", str(most), "--json").exit_code == 0
    assert run("history", "--limit", str(most + 1), "--json").exit_code == 2
    assert daemon.queries == [{"limit": str(most)}]
