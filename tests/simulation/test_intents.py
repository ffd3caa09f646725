from __future__ import annotations

import asyncio

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.errors import ActionInProgress, EngineHostUnreachable, RequestRefused
from reconfigure_daemon.ports import SwitchMode
from reconfigure_policies.domain.configuration import Configuration, ConfigurationOutsideSpace
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from reconfigure_policies.domain.objective import Objective
from tests.simulation.controller import SETTINGS, Controller, InProcessLauncher

START = Configuration({"max_num_seqs": 64, "pacing_interval_s": 0, "block_size": 16})


def told_by(story, directory, launcher=None):
    """What a story returns that is told with a serving controller over a fresh engine."""

    async def whole():
        engine = launcher() if launcher else InProcessLauncher()
        async with Controller.running(directory, engine) as controller:
            await controller.serving()
            told = await story(controller)
        await engine.end()
        return told

    return in_virtual_time(whole())


def test_a_hot_apply_is_enforced_at_once(tmp_path):
    """It adjusts inside the running core: enforced, stored with its outcome, and the new target."""

    async def story(controller):
        handled = await controller.submit("apply", changes={"max_num_seqs": 16})
        return handled, controller.loop.target, (await controller.history())[-1]

    handled, target, stored = told_by(story, tmp_path)
    assert handled.record.decision.kind is DecisionKind.ADJUST
    assert handled.record.outcome.kind is OutcomeKind.APPLIED
    assert handled.record.outcome.enforced == target == START.with_changes({"max_num_seqs": 16})
    assert stored == handled.record


def test_a_cold_apply_redeploys_and_its_cost_is_known_the_next_time(tmp_path):
    """The hot change travels along; the first plan promises nothing, the second quotes the measured switch."""

    async def story(controller):
        first = await controller.submit("apply", changes={"block_size": 32, "max_num_seqs": 32})
        second = await controller.submit("apply", changes={"block_size": 16})
        return first, second

    first, second = told_by(story, tmp_path)
    assert first.record.decision.kind is DecisionKind.REDEPLOY
    assert first.record.outcome.enforced == START.with_changes({"block_size": 32, "max_num_seqs": 32})
    assert first.record.mode == SwitchMode.OVERLAPPED
    assert (first.plan.duration_s, first.plan.basis) == (None, "no overlapped switch measured yet")
    assert second.plan.basis == "median of 1 overlapped switch; joules are estimated, not measured"
    assert second.plan.duration_s == pytest.approx(first.record.outcome.duration_s)
    assert second.plan.energy_j == pytest.approx(first.record.outcome.measurements["energy_j"])


def test_a_dry_run_changes_and_stores_nothing(tmp_path):
    """Planning asks the engine how it would switch, and leaves it and the history alone."""

    async def story(controller):
        before = await controller.history()
        planned = await controller.plan("apply", changes={"block_size": 32})
        return planned, before == await controller.history(), controller.loop.sampler.state.enforced

    planned, same_history, enforced = told_by(story, tmp_path)
    assert planned.mode == SwitchMode.OVERLAPPED
    assert planned.move.cold == {"block_size": 32}
    assert same_history
    assert Configuration(enforced) == START


def test_a_second_action_is_told_which_one_runs_and_since_when(tmp_path):
    """One action at a time; pausing is no action and is possible meanwhile."""

    async def story(controller):
        since = controller.clock.wall()
        switching = asyncio.create_task(controller.submit("apply", changes={"block_size": 32}))
        await asyncio.sleep(1)
        shown = controller.loop.action
        with pytest.raises(ActionInProgress) as refused:
            await controller.submit("apply", changes={"max_num_seqs": 16})
        paused = await controller.submit("pause")
        return since, shown, refused.value, paused, await switching

    since, shown, refused, paused, switched = told_by(story, tmp_path)
    assert (shown.kind, shown.detail) == ("switch", "apply block_size=32 by cli")
    assert (refused.action, refused.since) == ("switch", since)
    assert "1.0 s" in str(refused)
    assert paused.record.decision.kind is DecisionKind.KEEP
    assert switched.record.outcome.kind is OutcomeKind.APPLIED


def test_a_switch_whose_core_does_not_boot_is_rolled_back_with_the_engines_words(tmp_path):
    """The old core serves on, the target stays, and the outcome holds the engine's own last error."""
    faults = [{"when": {"block_size": 32}, "fault": "out_of_memory"}]

    async def story(controller):
        handled = await controller.submit("apply", changes={"block_size": 32})
        return handled.record, controller.loop.target

    emulation = Emulation.model_validate({"faults": faults})
    record, target = told_by(story, tmp_path, lambda: InProcessLauncher(emulation=emulation))
    assert record.outcome.kind is OutcomeKind.ROLLED_BACK
    assert "out of memory" in record.outcome.detail
    assert record.outcome.enforced == target == START


def test_rollback_returns_to_the_configuration_before(tmp_path):
    """What the engine was found with counts as applied, so that the first change can be taken back."""

    async def story(controller):
        with pytest.raises(RequestRefused, match="nothing to roll back to"):
            await controller.submit("rollback")
        await controller.submit("apply", changes={"max_num_seqs": 16})
        back = await controller.submit("rollback")
        again = await controller.submit("rollback")
        return back.record.outcome.enforced, again.record.outcome.enforced

    back, again = told_by(story, tmp_path)
    assert back == START
    assert again == START.with_changes({"max_num_seqs": 16})


def test_a_rollback_from_an_objective_brings_the_one_before_back(tmp_path):
    """Status names the objective whose configuration is enforced, also after a restart of the controller."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            await controller.submit("objective", objective=Objective.ENERGY)
            await controller.submit("rollback")
            seen = [controller.loop.orders.state.objective]
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            seen.append(controller.loop.orders.state.objective)
            await controller.submit("rollback")
            seen.append(controller.loop.orders.state.objective)
        await launcher.end()
        return seen

    assert in_virtual_time(story()) == [Objective.THROUGHPUT, Objective.THROUGHPUT, Objective.ENERGY]


def test_an_objective_that_changes_no_knob_is_the_one_to_come_back_to(tmp_path):
    """It holds under the configuration that was enforced already, so a rollback to this brings it back."""
    named = SETTINGS.model_copy(update={"objectives": {**SETTINGS.objectives, Objective.BALANCED: {}}})

    async def story():
        launcher = InProcessLauncher(named)
        async with Controller.running(tmp_path, launcher, named) as controller:
            await controller.serving()
            kept = await controller.submit("objective", objective=Objective.BALANCED)
            await controller.submit("objective", objective=Objective.ENERGY)
            await controller.submit("rollback")
            after = controller.loop.orders.state.objective
        await launcher.end()
        return kept.record.decision.kind, after

    assert in_virtual_time(story()) == (DecisionKind.KEEP, Objective.BALANCED)


def test_a_rollback_that_fails_leaves_the_objective(tmp_path):
    """The objective goes with the configuration: if the old one cannot be had, both stay."""

    faults = [{"when": {"block_size": 16, "max_num_seqs": 32}, "fault": "boot_fails"}]

    async def story(controller):
        await controller.submit("apply", changes={"max_num_seqs": 32})  # hot: nothing boots
        await controller.submit("objective", objective=Objective.ENERGY)
        back = await controller.submit("rollback")
        return back.record.outcome.kind, controller.loop.orders.state.objective

    emulation = Emulation.model_validate({"faults": faults})
    told = told_by(story, tmp_path, lambda: InProcessLauncher(emulation=emulation))
    assert told == (OutcomeKind.ROLLED_BACK, Objective.ENERGY)


def test_a_refused_intent_leaves_no_trace(tmp_path):
    """An unknown knob and an objective without a configuration change nothing and store no decision."""

    async def story(controller):
        before = await controller.history()
        with pytest.raises(ConfigurationOutsideSpace, match="there is no knob 'swap_space'"):
            await controller.submit("apply", changes={"swap_space": 4})
        with pytest.raises(RequestRefused, match="no configuration is named for objective balanced"):
            await controller.submit("objective", objective=Objective.BALANCED)
        return before == await controller.history(), controller.loop.orders.state.objective

    assert told_by(story, tmp_path) == (True, Objective.THROUGHPUT)


def test_while_the_engine_boots_intents_are_told_to_wait(tmp_path):
    """Nothing is queued: the operator hears that the engine is not there yet."""

    async def story():
        launcher = InProcessLauncher(emulation=Emulation(boot_s=60))
        async with Controller.running(tmp_path, launcher) as controller:
            await asyncio.sleep(10)
            with pytest.raises(EngineHostUnreachable, match="being adopted or started"):
                await controller.submit("apply", changes={"max_num_seqs": 16})
            await controller.serving()
            handled = await controller.submit("apply", changes={"max_num_seqs": 16})
        await launcher.end()
        return handled.record.outcome.kind

    assert in_virtual_time(story()) is OutcomeKind.APPLIED


def test_an_objective_that_was_not_reached_is_not_in_force(tmp_path):
    """If the switch to its configuration is undone, the objective before it stays."""
    emulation = Emulation.model_validate({"faults": [{"when": {"block_size": 32}, "fault": "boot_fails"}]})

    async def story(controller):
        handled = await controller.submit("objective", objective=Objective.ENERGY)
        return handled.record.outcome.kind, controller.loop.orders.state.objective

    told = told_by(story, tmp_path, lambda: InProcessLauncher(emulation=emulation))
    assert told == (OutcomeKind.ROLLED_BACK, SETTINGS.start_objective)
