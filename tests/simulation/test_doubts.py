from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.errors import EngineHostUnreachable
from reconfigure_daemon.ports import SwitchReport
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from tests.simulation.controller import Controller, InProcessLauncher


@pytest.fixture
def ended_pid():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class AnswerLost(EmulatedHost):
    """Switches, but the connection breaks before the report arrives."""

    async def switch(self, request, on_progress=None):
        report = await super().switch(request, on_progress)
        if not request.dry_run:
            raise EngineHostUnreachable("the engine host went away during a switch")
        return report


class Liar(EmulatedHost):
    """Reports that it switched, and did nothing."""

    async def switch(self, request, on_progress=None):
        report = await super().switch(request.model_copy(update={"dry_run": True}), on_progress)
        return SwitchReport.model_validate({**report.model_dump(), "detail": "done"})


class Deaf(EmulatedHost):
    """Takes hot knobs and enforces nothing."""

    async def set_knobs(self, changes):
        return await super().set_knobs({})


class Mortal(EmulatedHost):
    """Can die, as a process does: nobody answers, and its process id is that of one that ended."""

    dead_pid = None

    async def state(self):
        if self.dead_pid is not None:
            raise EngineHostUnreachable("no engine host answers")
        return await super().state()


def told_by(story, directory, host_class):
    async def whole():
        launcher = InProcessLauncher(host_class=host_class)
        async with Controller.running(directory, launcher) as controller:
            await controller.serving()
            told = await story(controller, launcher)
        await launcher.end()
        return told

    return in_virtual_time(whole())


def test_a_lost_answer_is_unknown_and_then_read_back(tmp_path):
    """The switch is not tried again: what the engine enforces tells that it was made."""

    async def story(controller, launcher):
        handled = await controller.submit("apply", changes={"block_size": 32})
        await asyncio.sleep(5)
        settled = next(r for r in await controller.history() if r.id == handled.record.id)
        deployments = (await launcher.host.state()).deployment.id
        return handled.record.outcome, settled.outcome, controller.loop.target["block_size"], deployments

    at_first, settled, block_size, deployments = told_by(story, tmp_path, AnswerLost)
    assert at_first.kind is OutcomeKind.UNKNOWN
    assert (settled.kind, block_size) == (OutcomeKind.APPLIED, 32)
    assert settled.detail == "read back later: the engine enforces the target"
    assert deployments == 2


def test_a_switch_that_did_nothing_is_a_failure(tmp_path):
    """The host's word counts for nothing against what it enforces."""

    async def story(controller, _):
        handled = await controller.submit("apply", changes={"block_size": 32})
        return handled.record.outcome, controller.loop.target["block_size"]

    outcome, block_size = told_by(story, tmp_path, Liar)
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.detail == (
        "the engine host reported success, but the engine enforces block_size=16 and not block_size=32, as before"
    )
    assert block_size == 16


def test_a_hot_knob_that_is_not_enforced_is_set_back(tmp_path):
    """An engine that does not follow keeps what it had, and the outcome says so."""

    async def story(controller, _):
        return (await controller.submit("apply", changes={"pacing_interval_s": 0.02})).record.outcome

    outcome = told_by(story, tmp_path, Deaf)
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert "enforces pacing_interval_s=0 and not pacing_interval_s=0.02" in outcome.detail


def test_a_switch_that_outlives_its_controller_is_read_back_by_the_next(tmp_path):
    """A controller killed in the middle leaves no outcome; the next one waits for the switch and judges it."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            # The host switches on its own, as one in another process does when its controller dies.
            host_switch = launcher.host.switch
            going_on = []

            async def outliving(request, on_progress=None):
                going_on.append(asyncio.create_task(host_switch(request, on_progress)))
                return await asyncio.shield(going_on[-1])

            launcher.host.switch = outliving
            applying = asyncio.create_task(controller.submit("apply", changes={"block_size": 32}))
            await asyncio.sleep(3)
        applying.cancel()
        async with Controller.running(tmp_path, launcher) as controller:
            await asyncio.sleep(2)
            unsettled = [r.outcome for r in await controller.history()][-1]
            during = controller.loop.action.kind
            await asyncio.sleep(30)
            record = next(r for r in await controller.history() if r.decision.kind is DecisionKind.REDEPLOY)
            target = controller.loop.target["block_size"]
        await launcher.end()
        return unsettled, during, record.outcome, target, (await launcher.host.state()).deployment.id

    unsettled, during, outcome, target, deployments = in_virtual_time(story())
    assert (unsettled, during) == (None, "switch")
    assert (outcome.kind, target, deployments) == (OutcomeKind.APPLIED, 32, 2)


def test_a_dead_host_is_replaced_with_the_last_target(tmp_path, ended_pid):
    """Its process is gone, so a fresh one starts with what was enforced, and the history tells of the loss."""

    async def story(controller, launcher):
        await controller.submit("apply", changes={"max_num_seqs": 16})
        first = launcher.host
        controller.loop.keeper.answered((await first.state()).model_copy(update={"pid": ended_pid}))
        first.dead_pid = ended_pid
        await asyncio.sleep(60)
        second = await launcher.host.state()
        record = next(r for r in await controller.history() if r.decision.kind is DecisionKind.REDEPLOY)
        return launcher.started, second.enforced["max_num_seqs"], record, controller.loop.keeper.error

    started, cap, record, error = told_by(story, tmp_path, Mortal)
    assert (started, cap, error) == (2, 16, None)
    assert f"(pid {ended_pid}) died with 0 live requests" in record.decision.reason
    assert record.outcome.kind is OutcomeKind.APPLIED


def test_a_fresh_host_is_shown_as_it_serves(tmp_path, ended_pid):
    """Once nothing is said to be wrong, what the new host enforces is shown, not what it said while it booted."""

    async def story(controller, launcher):
        first = launcher.host
        controller.loop.keeper.answered((await first.state()).model_copy(update={"pid": ended_pid}))
        first.dead_pid = ended_pid
        while launcher.started < 2 or controller.loop.keeper.error is not None:  # noqa: ASYNC110  # virtual time
            await asyncio.sleep(0.01)
        return controller.loop.sampler.state, await launcher.host.state()

    shown, fresh = told_by(story, tmp_path, Mortal)
    assert (shown.host_id, shown.phase, shown.enforced) == (fresh.host_id, fresh.phase, fresh.enforced)


def test_a_silent_host_that_still_lives_is_left_alone(tmp_path):
    """It may serve its clients all the same, so its silence is shown and nothing is restarted."""

    async def story(controller, launcher):
        launcher.host.dead_pid = -1  # nobody answers, but the process it named lives: it is this one
        await asyncio.sleep(600)
        return launcher.started, controller.loop.keeper.error, controller.loop.sampler.state

    assert told_by(story, tmp_path, Mortal) == (1, "no engine host answers", None)
