from __future__ import annotations

import asyncio

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_policies.domain.decision import DecisionKind
from reconfigure_policies.domain.objective import Objective
from tests.simulation.controller import Controller, InProcessLauncher

HOUR_S = 3600.0


async def objective_and_cap(controller):
    state = await controller.loop.keeper.host.state()
    return controller.loop.orders.state.objective, state.enforced["max_num_seqs"]


def test_an_objective_for_an_hour_ends_in_what_was_before(tmp_path):
    """At its end both the objective and the configuration from before it are back, by a decision that says so."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            await controller.submit("apply", changes={"max_num_seqs": 32})
            await controller.submit("objective", objective=Objective.ENERGY, lasting_s=HOUR_S)
            during = await objective_and_cap(controller)
            await asyncio.sleep(HOUR_S + 30)
            after = await objective_and_cap(controller)
            last = (await controller.history())[-1]
        await launcher.end()
        return during, after, last

    during, after, last = in_virtual_time(story())
    assert during == (Objective.ENERGY, 16)
    assert after == (Objective.THROUGHPUT, 32)
    assert last.decision.intent.source == "schedule"
    assert "what held before the temporary objective" in last.decision.reason


def test_the_end_survives_a_restart_of_the_controller(tmp_path):
    """A controller that comes back after the end lets the objective end, on the engine that served on."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            await controller.submit("objective", objective=Objective.ENERGY, lasting_s=HOUR_S)
        await asyncio.sleep(2 * HOUR_S)
        async with Controller.running(tmp_path, launcher) as controller:
            before = controller.loop.orders.state.objective
            await asyncio.sleep(30)
            after = await objective_and_cap(controller)
        await launcher.end()
        return before, after, launcher.started

    before, after, started = in_virtual_time(story())
    assert before == Objective.ENERGY
    assert after == (Objective.THROUGHPUT, 64)
    assert started == 1


def test_pause_holds_the_end_back_until_resume(tmp_path):
    """The end is an automatic change: while paused it is put off, said once, and made up for on resume."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            await controller.submit("objective", objective=Objective.ENERGY, lasting_s=HOUR_S)
            await controller.submit("pause")
            await asyncio.sleep(HOUR_S + 600)
            held = await objective_and_cap(controller)
            said = [record.decision.reason for record in await controller.history()][-1]
            count = len(await controller.history())
            await controller.submit("resume")
            await asyncio.sleep(30)
            after = await objective_and_cap(controller)
        await launcher.end()
        return held, said, count, after

    held, said, count, after = in_virtual_time(story())
    assert held == (Objective.ENERGY, 16)
    assert said.startswith("Keep objective energy although its time is over: automatic changes are paused")
    assert count == 4  # found, objective, pause, held back: not one for every tick
    assert after == (Objective.THROUGHPUT, 64)


def test_a_rollback_from_a_temporary_objective_ends_it_and_a_second_one_brings_it_back(tmp_path):
    """Back under the objective before, its end changes nothing; undone in time, it ends when it was to end."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            await controller.submit("objective", objective=Objective.ENERGY, lasting_s=HOUR_S)
            back = await controller.submit("rollback")
            seen = [await objective_and_cap(controller)]
            await controller.submit("rollback")
            seen.append(await objective_and_cap(controller))
            await asyncio.sleep(HOUR_S + 30)
            seen.append(await objective_and_cap(controller))
        await launcher.end()
        return back.record.decision.reason, seen

    reason, seen = in_virtual_time(story())
    assert "to go back to the previous configuration and to objective throughput, as cli asked" in reason
    assert seen == [(Objective.THROUGHPUT, 64), (Objective.ENERGY, 16), (Objective.THROUGHPUT, 64)]


def test_an_end_that_cannot_be_carried_out_is_a_decision_to_keep(tmp_path):
    """If the space no longer allows what was before, the objective ends all the same and says why nothing moved."""

    async def story():
        launcher = InProcessLauncher()
        narrower = launcher.settings.model_copy(
            update={"space": {**launcher.settings.space, "max_num_seqs": _only(launcher.settings, [16, 32])}}
        )
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            await controller.submit("objective", objective=Objective.ENERGY, lasting_s=HOUR_S)
        async with Controller.running(tmp_path, launcher, narrower) as controller:
            await asyncio.sleep(HOUR_S + 30)
            after = await objective_and_cap(controller)
            last = (await controller.history())[-1]
        await launcher.end()
        return after, last

    after, last = in_virtual_time(story())
    assert after == (Objective.THROUGHPUT, 16)
    assert last.decision.kind is DecisionKind.KEEP
    assert "max_num_seqs=64 is outside the space" in last.decision.reason


def _only(settings, values):
    return settings.space["max_num_seqs"].model_copy(update={"values": values, "default": values[-1]})
