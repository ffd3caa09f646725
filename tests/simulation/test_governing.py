"""The governor inside the controller: when it acts, what it leaves alone, and what it gives back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.control_api.views import status_view
from reconfigure_daemon.errors import EngineHostFault, EngineHostUnreachable
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from reconfigure_policies.domain.objective import Objective
from reconfigure_policies.domain.workload import FinishReason
from tests.simulation.controller import Controller, InProcessLauncher

SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [64, 128, 256], "default": 256},
            "max_num_batched_tokens": {"values": [512, 2048, 8192], "default": 8192},
            "pacing_interval_s": {"values": [0, 0.01, 0.02, 0.03, 0.045, 0.06]},
            "block_size": {"values": [16, 32]},
        },
        "objectives": {"energy": {"pacing_interval_s": 0.01}, "throughput": {"pacing_interval_s": 0}},
        "start_objective": "energy",
        "slo": {"ttft_s": 1.0, "tpot_s": 0.05},
        "governor": {"enabled": True},
    }
)
ASKED_S = 0.01


async def _ask(host):
    async for _ in host.engine.generate(512, 128, (), 16, FinishReason.LENGTH):
        pass


@asynccontextmanager
async def traffic(host, rate_rps):
    """Requests at even distances."""
    requests = set()

    async def send():
        while True:
            requests.add(asyncio.create_task(_ask(host)))
            await asyncio.sleep(1 / rate_rps)

    sender = asyncio.create_task(send())
    try:
        yield
    finally:
        for task in (sender, *requests):
            task.cancel()
        await asyncio.gather(sender, *requests, return_exceptions=True)


def told_by(story, directory, settings=SETTINGS, rate_rps=5):
    """What a story returns that is told under steady traffic."""

    async def whole():
        launcher = InProcessLauncher(settings)
        async with Controller.running(directory, launcher, settings) as controller:
            await controller.serving()
            async with traffic(launcher.host, rate_rps):
                told = await story(controller, launcher)
        await launcher.end()
        return told

    return in_virtual_time(whole())


async def pace_s(controller):
    return (await controller.loop.keeper.host.state()).enforced["pacing_interval_s"]


async def paced(controller, within_s=90):
    """Wait until the governor has slowed down beyond what was asked for."""
    for _ in range(within_s):
        await asyncio.sleep(1)
        if await pace_s(controller) > ASKED_S:
            return
    raise AssertionError(f"nothing was slowed down within {within_s} s")


async def left_paced(directory):
    """The engine that a controller leaves behind when it ends while the governor has slowed it down."""
    launcher = InProcessLauncher(SETTINGS)
    async with Controller.running(directory, launcher, SETTINGS) as controller:
        await controller.serving()
        async with traffic(launcher.host, 5):
            await paced(controller)
    return launcher


async def by_itself(controller):
    """What the daemon decided alone, beside finding its engine."""
    return [r for r in await controller.history() if r.decision.intent is None and "Keep what" not in r.decision.reason]


def governor_of(controller):
    return status_view(controller.loop, [], 0.0).governor


def test_it_slows_down_at_low_load_and_comes_to_rest(tmp_path):
    """Each change is a stored decision with its reason and outcome; they are few, and what was asked for stays."""

    async def story(controller, _):
        await asyncio.sleep(600)
        return await by_itself(controller), controller.loop.target, governor_of(controller), await pace_s(controller)

    decisions, asked, governor, interval_s = told_by(story, tmp_path)
    assert interval_s > ASKED_S == asked["pacing_interval_s"]
    assert 1 <= len(decisions) <= 12
    assert all(r.decision.kind is DecisionKind.ADJUST for r in decisions)
    assert all(r.outcome.kind is OutcomeKind.APPLIED for r in decisions)
    assert "it should cost" in decisions[0].decision.reason
    assert governor.active
    assert governor.standing_by is None
    assert 0.3 < governor.saved < 0.8
    assert governor.energy_source == "estimated"
    assert governor.energy_per_output_token_j == pytest.approx(governor.expected_energy_per_output_token_j, rel=0.1)
    assert 0 < governor.tpot_headroom < 0.5


def test_a_burst_gets_everything_back_within_a_second_or_two(tmp_path):
    """Ten times the usual arrivals end the pacing."""

    async def story(controller, launcher):
        await paced(controller)
        async with traffic(launcher.host, 60):
            await asyncio.sleep(2.1)
            return await pace_s(controller), (await by_itself(controller))[-1].decision.reason

    interval_s, reason = told_by(story, tmp_path)
    assert interval_s == 0
    assert "requests/s arrive where" in reason


def test_pausing_gives_back_and_resuming_goes_on(tmp_path):
    """While paused the engine runs as was asked for, and the history says why."""

    async def story(controller, _):
        await paced(controller)
        await controller.submit("pause")
        await asyncio.sleep(60)
        held = await pace_s(controller), governor_of(controller), (await by_itself(controller))[-1]
        await controller.submit("resume")
        await paced(controller)
        return held

    interval_s, governor, last = told_by(story, tmp_path)
    assert interval_s == ASKED_S
    assert last.decision.reason.endswith("what was asked for holds again, since automatic changes are paused.")
    assert (governor.active, governor.standing_by) == (False, "automatic changes are paused")


def test_an_operators_value_wins_until_the_next_objective(tmp_path):
    """An applied pace stays, whatever it costs; another objective intent lets the governor go on."""

    async def story(controller, _):
        await paced(controller)
        await controller.submit("apply", changes={"pacing_interval_s": 0.02})
        await asyncio.sleep(120)
        held = await pace_s(controller), governor_of(controller).standing_by, controller.loop.target
        await controller.submit("objective", objective=Objective.ENERGY)
        await asyncio.sleep(120)
        return held, await pace_s(controller), governor_of(controller).active

    (interval_s, standing_by, asked), later_s, active = told_by(story, tmp_path)
    assert interval_s == asked["pacing_interval_s"] == 0.02
    assert standing_by == "cli set pacing_interval_s; the next objective or `reconfigure resume` lets it go on"
    assert later_s > 0.02
    assert active


def test_an_operators_other_knob_leaves_it_in_charge(tmp_path):
    """A cold apply moves to a new core under the governor's pace, and asks for nothing of what the governor did."""

    async def story(controller, _):
        await paced(controller)
        handled = await controller.submit("apply", changes={"block_size": 32})
        asked = controller.loop.target
        await asyncio.sleep(120)
        return handled.record, asked, await pace_s(controller), governor_of(controller).active

    record, asked, interval_s, active = told_by(story, tmp_path)
    assert record.outcome.kind is OutcomeKind.APPLIED
    assert record.decision.target["pacing_interval_s"] > ASKED_S
    assert (asked["block_size"], asked["pacing_interval_s"]) == (32, ASKED_S)
    assert interval_s > ASKED_S
    assert active


def test_another_objective_ends_it(tmp_path):
    """The other objective's configuration is enforced as it is named; rollback then goes to what was asked before."""

    async def story(controller, _):
        await paced(controller)
        await controller.submit("objective", objective=Objective.THROUGHPUT)
        await asyncio.sleep(60)
        held = await pace_s(controller), governor_of(controller).standing_by
        back = await controller.submit("rollback")
        return held, back.record.decision.target["pacing_interval_s"]

    (interval_s, standing_by), back_s = told_by(story, tmp_path)
    assert interval_s == 0
    assert standing_by == "objective throughput is in force, and it governs under energy"
    assert back_s == ASKED_S


def test_a_rollback_goes_behind_what_was_asked_for(tmp_path):
    """What the governor did is not what an operator goes back from; and the governor leaves the result alone."""

    async def story(controller, _):
        await controller.submit("apply", changes={"block_size": 32})
        await paced(controller)
        back = await controller.submit("rollback")
        await asyncio.sleep(60)
        return back.record.decision.target, await pace_s(controller), governor_of(controller).standing_by

    target, interval_s, standing_by = told_by(story, tmp_path)
    assert (target["block_size"], target["pacing_interval_s"]) == (16, ASKED_S)
    assert interval_s == ASKED_S
    assert standing_by.startswith("cli asked for a rollback")


def test_a_temporary_objective_returns_to_what_was_asked_and_not_to_a_pace_of_the_past(tmp_path):
    """What comes back is the configuration of the objective; the governor starts from there."""

    async def story(controller, _):
        await paced(controller)
        await controller.submit("objective", objective=Objective.THROUGHPUT, lasting_s=60)
        await asyncio.sleep(61)
        returned = next(r for r in (await controller.history())[::-1] if r.decision.intent is not None)
        await paced(controller)
        return returned.decision

    decision = told_by(story, tmp_path)
    assert decision.intent.source == "schedule"
    assert decision.target["pacing_interval_s"] == ASKED_S


def test_the_next_controller_knows_what_was_asked_for(tmp_path):
    """A controller that finds the engine paced takes the pace for the governor's, not for an operator's."""

    async def whole():
        launcher = await left_paced(tmp_path)
        async with Controller.running(tmp_path, launcher, SETTINGS) as controller:
            await controller.serving()
            await asyncio.sleep(2)
            asked, found_s = controller.loop.target, await pace_s(controller)
            await controller.submit("pause")
            await asyncio.sleep(5)
            told = asked["pacing_interval_s"], found_s, await pace_s(controller)
        await launcher.end()
        return told

    asked_s, found_s, given_back_s = in_virtual_time(whole())
    assert asked_s == ASKED_S < found_s
    assert given_back_s == ASKED_S


def test_an_operator_is_not_refused_while_it_acts(tmp_path):
    """Whoever comes while a hot knob changes waits for it; a slow engine makes the change last."""

    async def story(controller, launcher):
        set_knobs, acting = launcher.host.set_knobs, asyncio.Event()

        async def slow(changes):
            acting.set()
            await asyncio.sleep(0.4)
            return await set_knobs(changes)

        launcher.host.set_knobs = slow
        await acting.wait()
        assert controller.loop.action.detail == "by the governor"
        handled = await controller.submit("apply", changes={"block_size": 32})
        return handled.record.outcome.kind

    assert told_by(story, tmp_path) is OutcomeKind.APPLIED


def test_a_change_that_the_engine_refuses_is_not_tried_every_second(tmp_path):
    """An engine that does not follow is left alone for a minute."""

    async def story(controller, launcher):
        set_knobs = launcher.host.set_knobs

        async def deaf(_):
            return await set_knobs({})

        launcher.host.set_knobs = deaf
        await asyncio.sleep(200)
        decisions = await by_itself(controller)
        return [r.outcome.kind for r in decisions], governor_of(controller)

    outcomes, governor = told_by(story, tmp_path)
    assert 2 <= len(outcomes) <= 4
    assert set(outcomes) == {OutcomeKind.ROLLED_BACK}
    assert not governor.active


def test_switched_off_it_leaves_everything_alone(tmp_path):
    """By default nobody moves a knob; status says that it is off."""
    off = SETTINGS.model_copy(update={"governor": SETTINGS.governor.model_copy(update={"enabled": False})})

    async def story(controller, _):
        await asyncio.sleep(120)
        return await by_itself(controller), governor_of(controller)

    decisions, governor = told_by(story, tmp_path, off)
    assert decisions == []
    assert (governor.enabled, governor.standing_by) == (False, "governor.enabled is false")


def test_a_service_level_that_cannot_be_held_is_told_once(tmp_path):
    """4 ms for a step that takes 4.8: one decision to keep, and status says it as long as it lasts."""
    strict = Settings.model_validate(
        {**SETTINGS.model_dump(exclude_unset=True), "slo": {"tpot_s": 0.004}, "objectives": {"energy": {}}}
    )

    async def story(controller, _):
        await asyncio.sleep(300)
        return await by_itself(controller), governor_of(controller)

    (news,), governor = told_by(story, tmp_path, strict)
    assert news.decision.kind is DecisionKind.KEEP
    assert news.decision.reason.startswith("No setting holds the service level: TPOT")
    assert governor.unmet is not None


def test_a_change_that_takes_longer_than_a_second_is_no_reason_to_start_anew(tmp_path):
    """An engine with long steps answers late: the governor comes to rest all the same, and gives back at the end."""

    async def story(controller, launcher):
        set_knobs = launcher.host.set_knobs

        async def slow(changes):
            await asyncio.sleep(1.5)
            return await set_knobs(changes)

        launcher.host.set_knobs = slow
        await paced(controller)
        await asyncio.sleep(120)
        decisions, rested_s = await by_itself(controller), await pace_s(controller)
        await controller.submit("pause")
        await asyncio.sleep(60)
        return decisions, rested_s, await pace_s(controller)

    decisions, rested_s, given_back_s = told_by(story, tmp_path)
    assert len(decisions) <= 6
    assert not [r for r in decisions if "requests/s arrive where" in r.decision.reason]
    assert rested_s > ASKED_S == given_back_s


def test_an_answer_that_is_missed_once_is_no_surge(tmp_path):
    """Whoever begins to watch in the middle of a load has not seen it begin."""

    async def story(controller, launcher):
        await paced(controller)
        await asyncio.sleep(60)
        before_s, decisions = await pace_s(controller), len(await by_itself(controller))
        state = launcher.host.state

        async def silent():
            raise EngineHostUnreachable("no answer in 5 s")

        launcher.host.state = silent
        await asyncio.sleep(1.1)
        launcher.host.state = state
        await asyncio.sleep(4)
        return before_s, await pace_s(controller), (await by_itself(controller))[decisions:]

    before_s, after_s, since = told_by(story, tmp_path, rate_rps=8)
    assert (after_s, since) == (before_s, [])


@pytest.mark.parametrize("fault", [EngineHostFault("some trouble"), EngineHostUnreachable("no answer in 30 s")])
def test_what_could_not_be_given_back_is_given_back_later(tmp_path, fault):
    """A fault or a lost answer at the wrong moment leaves nothing slowed down for good."""

    async def story(controller, launcher):
        await paced(controller)
        set_knobs, faults = launcher.host.set_knobs, [fault]

        async def fails_once(changes):
            if faults:
                raise faults.pop()
            return await set_knobs(changes)

        launcher.host.set_knobs = fails_once
        await controller.submit("pause")
        await asyncio.sleep(200)
        return faults, await pace_s(controller)

    assert told_by(story, tmp_path) == ([], ASKED_S)


def _space_of(settings, **changes):
    """The settings with knobs of the space exchanged; None leaves one out."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    space = {name: knob for name, knob in {**given["space"], **changes}.items() if knob is not None}
    return Settings.model_validate({**given, "space": space})


@pytest.mark.parametrize(
    "changes",
    [
        {"max_num_batched_tokens": None},
        {"long_prefill_token_threshold": {"values": [0, 64]}},
        {"max_num_batched_tokens": None, "long_prefill_token_threshold": {"values": [0, 64]}},
    ],
    ids=["a knob less", "a knob more", "both"],
)
def test_the_next_controller_may_have_another_space(tmp_path, changes):
    """What was asked for is still that, the governor goes on, and what it moved is given back in the end."""
    second = _space_of(SETTINGS, **changes)

    async def whole():
        launcher = await left_paced(tmp_path)
        async with Controller.running(tmp_path, launcher, second) as controller:
            await controller.serving()
            async with traffic(launcher.host, 5):
                await asyncio.sleep(30)
                asked, found_s, active = (
                    controller.loop.target,
                    await pace_s(controller),
                    governor_of(controller).active,
                )
                await controller.submit("pause")
                await asyncio.sleep(10)
                given_back_s = await pace_s(controller)
        await launcher.end()
        return asked["pacing_interval_s"], found_s, active, given_back_s

    asked_s, found_s, active, given_back_s = in_virtual_time(whole())
    assert asked_s == ASKED_S < found_s
    assert active
    assert given_back_s == ASKED_S
