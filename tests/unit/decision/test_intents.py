from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import IntentRefused, completed, decide
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.decision import DecisionKind, Snapshot
from reconfigure_policies.domain.objective import (
    AppliedConfiguration,
    IntentKind,
    Objective,
    OperatorIntent,
    ServiceLevelObjective,
)
from reconfigure_policies.domain.workload import WorkloadWindow
from tests.unit.decision import forecasts as learned

SPACE = ConfigurationSpace(
    (Knob("max_num_seqs", Tier.HOT, (16, 32, 64), 64), Knob("block_size", Tier.COLD, (16, 32), 16))
)
START = SPACE.default()
CONFIGURATIONS = st.fixed_dictionaries({k.name: st.sampled_from(k.values) for k in SPACE.knobs}).map(Configuration)


def snapshot(**facts):
    return Snapshot(
        **{"at": 0.0, "enforced": START, "objective": Objective.THROUGHPUT, "slo": ServiceLevelObjective(), **facts}
    )


def applied(*configurations, objective=Objective.THROUGHPUT, until=None):
    return tuple(AppliedConfiguration(each, objective, until) for each in configurations)


def intent(kind=IntentKind.APPLY, **facts):
    return OperatorIntent(**{"id": "i1", "kind": kind, "received_at": 0.0, "source": "cli", **facts})


def test_a_hot_apply_adjusts_and_its_reason_holds_the_numbers():
    """The reason names the knob, both values, who asked, and the last window's traffic and energy."""
    window = WorkloadWindow(0, 30, 60, 58, 55, 900, 0, 1200, 0, 2.0, 0.0, energy_j=2550, energy_source="estimated")
    decision = decide(intent(changes={"max_num_seqs": 32}), snapshot(windows=(window,)), SPACE)
    assert decision.kind is DecisionKind.ADJUST
    assert decision.reason == (
        "Adjust max_num_seqs from 64 to 32 (hot), as cli asked; the last 30 s saw 2.00 requests/s and "
        "40.0 output tokens/s at 85.0 W (estimated), 2.12 J per output token."
    )


def test_unknown_energy_is_left_out_of_the_reason():
    """A window without energy says nothing of watts or joules."""
    window = WorkloadWindow(0, 30, 60, 58, 55, 900, 0, 1200, 0, 2.0, 0.0)
    reason = decide(intent(changes={"max_num_seqs": 32}), snapshot(windows=(window,)), SPACE).reason
    assert reason.endswith("40.0 output tokens/s.")


def test_a_cold_apply_redeploys_with_its_hot_changes():
    """One cold knob makes a redeploy, and hot knobs asked for with it are part of the target."""
    decision = decide(intent(changes={"max_num_seqs": 32, "block_size": 32}), snapshot(), SPACE)
    assert decision.kind is DecisionKind.REDEPLOY
    assert (decision.hot, decision.cold) == ({"max_num_seqs": 32}, {"block_size": 32})


def test_an_apply_of_what_is_enforced_keeps():
    """Asking for the present state changes nothing and says so."""
    decision = decide(intent(changes={"block_size": 16}), snapshot(), SPACE)
    assert decision.kind is DecisionKind.KEEP
    assert "it is enforced already" in decision.reason


def test_an_apply_of_nothing_is_refused():
    """An empty apply is a mistake, not a success."""
    with pytest.raises(IntentRefused, match="at least one KEY=VALUE"):
        decide(intent(), snapshot(), SPACE)


def test_an_apply_while_paused_is_carried_out_and_says_so():
    """Pause binds the daemon, not the operator."""
    decision = decide(intent(changes={"max_num_seqs": 16}), snapshot(paused=True), SPACE)
    assert decision.kind is DecisionKind.ADJUST
    assert "although automatic changes are paused" in decision.reason


def test_a_cap_that_still_drains_keeps_its_target_through_other_changes():
    """What the engine has taken and does not enforce yet is part of the next target, not undone by it."""
    state = snapshot(enforced=START.with_changes({"max_num_seqs": 32}), draining={"max_num_seqs": 16})
    decision = decide(intent(changes={"block_size": 32}), state, SPACE)
    assert decision.target == Configuration({"max_num_seqs": 16, "block_size": 32})


def test_asking_again_for_a_cap_that_still_drains_is_not_called_enforced():
    """Nothing is claimed to be in force before it is read back."""
    state = snapshot(enforced=START.with_changes({"max_num_seqs": 32}), draining={"max_num_seqs": 16})
    assert decide(intent(changes={"max_num_seqs": 16}), state, SPACE).kind is DecisionKind.ADJUST


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_an_objective_moves_to_its_named_configuration(enforced, named):
    """Whatever is enforced, the objective's own configuration is the target."""
    state = snapshot(enforced=enforced, named={Objective.ENERGY: named})
    decision = decide(intent(IntentKind.OBJECTIVE, objective=Objective.ENERGY), state, SPACE)
    assert decision.target == named
    assert "objective energy" in decision.reason


def test_an_objective_without_a_configuration_names_the_key_to_add():
    """The refusal says which key of config.yaml is missing and what is there instead."""
    state = snapshot(named={Objective.ENERGY: START})
    with pytest.raises(IntentRefused, match=r"objectives: \{balanced: .*named are: energy"):
        decide(intent(IntentKind.OBJECTIVE, objective=Objective.BALANCED), state, SPACE)


def test_an_objective_intent_without_an_objective_is_refused():
    """The three choices are named."""
    with pytest.raises(IntentRefused, match="energy, throughput or balanced"):
        decide(intent(IntentKind.OBJECTIVE), snapshot(), SPACE)


def test_an_objective_that_returns_without_a_configuration_restores_what_held_before():
    """The end of a temporary objective brings back the configuration from before it."""
    returning = intent(
        IntentKind.OBJECTIVE, objective=Objective.THROUGHPUT, source="schedule", changes={"max_num_seqs": 64}
    )
    decision = decide(returning, snapshot(enforced=START.with_changes({"max_num_seqs": 16})), SPACE)
    assert decision.target == START
    assert "what held before" in decision.reason


@given(st.lists(CONFIGURATIONS, max_size=6), CONFIGURATIONS)
def test_rollback_goes_to_the_latest_different_configuration(previous, enforced):
    """The target is the last applied configuration that is not enforced; without one the intent is refused."""
    state = snapshot(enforced=enforced, previous=applied(*previous))
    different = [configuration for configuration in previous if configuration != enforced]
    if different:
        assert decide(intent(IntentKind.ROLLBACK), state, SPACE).target == different[-1]
    else:
        with pytest.raises(IntentRefused, match="nothing to roll back to"):
            decide(intent(IntentKind.ROLLBACK), state, SPACE)


def test_rollback_of_a_rollback_undoes_it():
    """Two rollbacks in a row end where they began."""
    other = START.with_changes({"block_size": 32})
    back = decide(intent(IntentKind.ROLLBACK), snapshot(previous=applied(other, START)), SPACE).target
    assert back == other
    again = snapshot(enforced=back, previous=applied(other, START, back))
    assert decide(intent(IntentKind.ROLLBACK), again, SPACE).target == START


def test_rollback_ignores_knobs_that_left_the_space():
    """A configuration applied under an older config.yaml is read in today's space."""
    older = Configuration({"max_num_seqs": 16, "block_size": 16, "gone": 1})
    assert decide(intent(IntentKind.ROLLBACK), snapshot(previous=applied(older)), SPACE).target == completed(
        SPACE, older
    )


@pytest.mark.parametrize(
    ("until", "words"),
    [(None, "to go back to the previous configuration and to objective energy, as cli asked"),
     (-1.0, "to go back to the previous configuration, as cli asked")],
)  # fmt: skip
def test_a_rollback_names_the_objective_that_comes_back(until, words):
    """The one that held under the configuration returns with it, unless its time is over."""
    other = START.with_changes({"block_size": 32})
    previous = applied(other, objective=Objective.ENERGY, until=until)
    assert words in decide(intent(IntentKind.ROLLBACK), snapshot(previous=previous), SPACE).reason


@pytest.mark.parametrize(
    ("kind", "paused", "words"),
    [
        (IntentKind.PAUSE, False, "Automatic changes are paused, as cli asked"),
        (IntentKind.PAUSE, True, "Automatic changes are paused already, as cli asked"),
        (IntentKind.RESUME, True, "Automatic changes go on, as cli asked"),
        (IntentKind.RESUME, False, "Automatic changes go on already, as cli asked"),
    ],
)
def test_pause_and_resume_keep_the_configuration(kind, paused, words):
    """Both are decisions to keep, and a repeated one says `already`."""
    decision = decide(intent(kind), snapshot(paused=paused), SPACE)
    assert decision.kind is DecisionKind.KEEP
    assert decision.target == START
    assert decision.reason.startswith(words)


def test_an_objective_takes_the_best_that_is_forecast_to_hold_the_slo():
    """Not the configuration that is named for it; the reason tells what is expected of it."""
    seen = learned.snapshot(
        learned.forecasts_with(block_32={"energy_j": 0.2}), named={Objective.ENERGY: learned.block(64)}
    )
    decision = decide(intent(IntentKind.OBJECTIVE, objective=Objective.ENERGY), seen, learned.SPACE)
    assert decision.target == learned.block(32)
    assert (
        "for objective energy, as cli asked: the best of 12 candidates that hold the SLO, with 0.2 (0.19 to 0.21) J "
        "per output token"
    ) in decision.reason
    assert decision.expected["energy_per_output_token_j"].median == 0.2


def test_an_objective_does_not_take_what_is_reserved_for_another():
    """However good it would be, and however many are left."""
    space = learned.reserved_for(32, Objective.ENERGY)
    seen = learned.snapshot(learned.forecasts_with(block_32={"energy_j": 0.2, "tps": 9000.0}))
    taken = {
        objective: decide(intent(IntentKind.OBJECTIVE, objective=objective), seen, space) for objective in Objective
    }
    assert taken[Objective.ENERGY].target == learned.block(32)
    assert taken[Objective.THROUGHPUT].target["block_size"] != 32
    assert "the best of 8 candidates" in taken[Objective.THROUGHPUT].reason


def test_an_objective_without_forecasts_takes_its_name_and_says_so():
    """Nothing is learned yet: the configuration of config.yaml is the best that is known."""
    seen = learned.snapshot(basis="3 observations of 12 needed", named={Objective.ENERGY: learned.block(64)})
    decision = decide(intent(IntentKind.OBJECTIVE, objective=Objective.ENERGY), seen, learned.SPACE)
    assert decision.target == learned.block(64)
    assert not decision.expected
    assert (
        "as cli asked, by its name in config.yaml, since nothing is learned yet (3 observations of 12 needed)"
    ) in decision.reason


def test_an_objective_that_no_forecast_serves_falls_back_to_its_name():
    """No candidate holds the SLO: the operator's own configuration is taken, with why."""
    forecasts = tuple(learned.forecast(each, ttft_s=9.0) for each in learned.CANDIDATES)
    seen = learned.snapshot(forecasts, basis="40 observations", named={Objective.ENERGY: learned.block(64)})
    decision = decide(intent(IntentKind.OBJECTIVE, objective=Objective.ENERGY), seen, learned.SPACE)
    assert decision.target == learned.block(64)
    assert "none of 12 candidates may be chosen: the SLO would not hold for 12" in decision.reason


def test_an_objective_without_a_name_or_a_forecast_is_refused():
    """With what is missing of both."""
    seen = learned.snapshot(basis="3 observations of 12 needed")
    with pytest.raises(IntentRefused, match="3 observations of 12 needed"):
        decide(intent(IntentKind.OBJECTIVE, objective=Objective.ENERGY), seen, learned.SPACE)
