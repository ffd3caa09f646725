"""The verbs that change something: what they ask, show and end with."""

from __future__ import annotations

import json

import pytest

from reconfigure_daemon.cli import intents, wording
from reconfigure_daemon.control_api.messages import IntentResult
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from tests.told import words_of


def test_apply_says_what_changes_what_it_costs_and_what_happened(run, daemon):
    """An operator sees each knob from what to what, the expected cost, the reason, the measured cost and the state."""
    done = run("apply", "max_num_seqs=64", "block_size=32")
    assert done.exit_code == 0
    assert daemon.intents == [{"kind": "apply", "changes": {"max_num_seqs": 64, "block_size": 32}, "source": "cli"}]
    for words in (
        "max_num_seqs  8     64  hot: inside the running engine",
        "block_size    16    32  cold: in a new core",
        "A new core boots beside the old one and 8 live requests move to it.",
        "Expected cost: 12.5s until it serves, a pause of 60ms in each stream, 840 J (median of 3 switches).",
        "asked by cli: redeploy (applied)",
        "Why: cli asked for block_size=32 [cold] and max_num_seqs=64.",
        "Outcome after 11.9s: applied. 8 requests moved.",
        "Measured: stall p95 58ms, boot 9.4s, energy 812.3 J, live requests 8.",
        "Enforced now, read back from the engine: max_num_seqs=64 block_size=32.",
    ):
        assert words in done.stdout
    assert "boot: weights loaded after 4.2s" in done.stderr
    assert "pre-copy after 9.8s" in done.stderr


def test_apply_as_json_is_the_daemons_result_and_nothing_else(run, daemon):
    """A program reads one document, without progress."""
    done = run("apply", "max_num_seqs=64", "--json")
    assert IntentResult.model_validate(json.loads(done.stdout)) == daemon.result
    assert done.stderr == ""


def test_values_keep_their_kind(run, daemon):
    """Numbers, switches and words reach the daemon as what they are."""
    run("apply", "a=1", "b=0.02", "c=true", "d=bfloat16", "--json")
    assert daemon.intents[0]["changes"] == {"a": 1, "b": 0.02, "c": True, "d": "bfloat16"}
    assert daemon.intents[0]["changes"]["c"] is True


def test_a_dry_run_asks_for_the_plan_only(run, daemon):
    """With --dry-run nothing but the plan is asked for and shown."""
    done = run("apply", "block_size=32", "--dry-run")
    assert [intent["dry_run"] for intent in daemon.intents] == [True]
    assert "Expected cost: 12.5s" in done.stdout
    assert "Why" not in done.stdout
    assert json.loads(run("rollback", "--dry-run", "--json").stdout)["decision"] is None


def test_a_cost_that_nobody_has_measured_is_not_made_up(run, daemon):
    """Without past switches the plan says so."""
    unknown = {"expected_duration_s": None, "expected_stall_s": None, "expected_energy_j": None}
    plan = daemon.result.plan.model_copy(update={**unknown, "basis": "no switch measured yet"})
    daemon.result = daemon.result.model_copy(update={"plan": plan})
    assert "Expected cost: not known (no switch measured yet)." in run("apply", "block_size=32", "--dry-run").stdout


@pytest.mark.parametrize(("answer", "asked", "code"), [("y\n", [True, False], 0), ("n\n", [True], 1), ("", [True], 1)])
def test_on_a_terminal_a_cold_change_is_asked_about(run, daemon, monkeypatch, answer, asked, code):
    """The plan comes first, and only a yes goes on."""
    monkeypatch.setattr(intents, "is_interactive", lambda: True)
    done = run("apply", "block_size=32", input=answer)
    assert "Go ahead?" in done.stdout
    assert [intent.get("dry_run", False) for intent in daemon.intents] == asked
    assert done.exit_code == code


def test_on_a_terminal_yes_and_hot_changes_are_not_asked_about(run, daemon, monkeypatch):
    """--yes asks nothing, and a hot change is undone as easily as done."""
    monkeypatch.setattr(intents, "is_interactive", lambda: True)
    assert "Go ahead?" not in run("apply", "block_size=32", "--yes").stdout
    hot = daemon.result.plan.model_copy(update={"changes": daemon.result.plan.changes[:1], "mode": None})
    daemon.result = daemon.result.model_copy(update={"plan": hot})
    done = run("apply", "max_num_seqs=64")
    assert "Go ahead?" not in done.stdout
    assert "Expected cost" not in done.stdout
    assert done.exit_code == 0


@pytest.mark.parametrize("kind", [OutcomeKind.ROLLED_BACK, OutcomeKind.FAILED, OutcomeKind.UNKNOWN])
def test_a_change_that_did_not_hold_ends_with_1(run, daemon, kind):
    """Anything but `applied` is told in words and in the exit code."""
    outcome = daemon.result.decision.outcome.model_copy(update={"kind": kind, "enforced": None, "measurements": {}})
    decision = daemon.result.decision.model_copy(update={"outcome": outcome})
    daemon.result = IntentResult(intent_id="i", plan=None, decision=decision)
    done = run("rollback")
    assert done.exit_code == 1
    assert f"redeploy ({kind.value.replace('_', ' ')})" in done.stdout
    assert "could not be read back" in done.stdout


def test_a_decision_to_do_nothing_is_done(run, daemon):
    """Asking for what already is ends well and says why nothing happened."""
    decision = daemon.result.decision.model_copy(update={"kind": DecisionKind.KEEP, "outcome": None, "changes": []})
    daemon.result = IntentResult(intent_id="i", plan=None, decision=decision)
    done = run("resume")
    assert done.exit_code == 0
    assert "keep (nothing to do)" in done.stdout


@pytest.mark.parametrize("verb", ["pause", "resume", "rollback"])
def test_each_verb_is_its_intent(run, daemon, verb):
    """The verb's name is the intent's kind."""
    assert run(verb, "--json").exit_code == 0
    assert daemon.intents == [{"kind": verb, "source": "cli"}]


def test_an_objective_may_end_by_itself(run, daemon):
    """`--objective` needs no verb, and `--for` says for how long."""
    assert run("--objective", "energy", "--for", "1h30m").exit_code == 0
    assert daemon.intents == [{"kind": "objective", "objective": "energy", "expires_in_s": 5400.0, "source": "cli"}]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["apply", "max_num_seqs"], "write KEY=VALUE"),
        (["apply", "=3"], "write KEY=VALUE"),
        (["apply", "a="], "write KEY=VALUE"),
        (["apply", "a=1", "a=2"], "found a twice"),
        (["apply"], "Missing argument"),
        (["--objective", "greed"], "'energy'"),
        (["--objective", "energy", "--for", "8"], "e.g. 8h, 90m or 1h30m"),
        (["--for", "8h"], "--objective"),
        (["--objective", "energy", "status"], "--objective stands before 'status'"),
        (["--json", "status"], "--json stands before 'status'"),
        (["staus"], "status"),
        ([], "name a verb, or --objective"),
    ],
)
def test_wrong_words_end_with_2_and_say_what_is_right(run, words, says):
    """A usage error is told on standard error, before any daemon is asked."""
    done = run(*words)
    assert done.exit_code == 2
    assert says in words_of(done.stderr)


def test_what_is_no_number_is_left_to_the_space():
    """The daemon refuses it with what is allowed, as any other word."""
    assert intents.parse_assignments(["a=nan", "b=inf", "c=1"]) == {"a": "nan", "b": "inf", "c": 1}


def test_estimated_joules_are_said_to_be_so():
    """A flag of the measurements becomes a word behind them."""
    measured = {"energy_j": 1832.4, "energy_estimated": 1.0, "boot_s": 9.0}
    assert wording.measurements(measured) == ["energy 1832 J (estimated)", "boot 9s"]
    assert wording.measurements({"energy_j": 1832.4}) == ["energy 1832 J"]
