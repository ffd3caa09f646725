"""The daemon left alone with forecasts: it decides on occasions, watches what it did, and obeys its operator."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.settings import Settings
from reconfigure_policies.decision.own_changes import free_at
from reconfigure_policies.domain.decision import Author, DecisionKind, OutcomeKind
from reconfigure_policies.domain.forecast import Estimate, Forecast
from reconfigure_policies.domain.objective import Objective
from reconfigure_policies.domain.workload import FinishReason
from tests.simulation.controller import Controller, InProcessLauncher

SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [256]},
            "tensor_parallel_size": {"values": [1, 2], "default": 2},
            "block_size": {"values": [16, 32]},
        },
        "start_objective": "energy",
        "objectives": {"energy": {"block_size": 32}},
        "slo": {"ttft_s": 1.0, "tpot_s": 0.05},
        "decision": {"canary_s": 60},
    }
)


class Forecasts:
    """Says what each configuration will cost, once it has learned; by the tensor-parallel size."""

    def __init__(self, one=2.0, two=4.0, spread=0.5, learned=True):
        self.joules = {1: one, 2: two}
        self.spread = spread
        self.learned = learned
        self.asked = []

    async def forecasts(self, context):
        self.asked.append(context)
        return (
            tuple(self._of(each, context) for each in SETTINGS.configuration_space().enumerate())
            if self.learned
            else None
        )

    def describe(self):
        return "made up for a test"

    def _of(self, configuration, context):
        joules = self.joules[configuration["tensor_parallel_size"]] * (1 if configuration["block_size"] == 16 else 1.01)
        tail = Estimate(0.02, 0.01, 0.03)
        energy = Estimate(joules, joules * (1 - self.spread), joules * (1 + self.spread))
        return Forecast(configuration, context, energy, Estimate(5000, 4000, 6000), tail, tail)


@asynccontextmanager
async def traffic(host, rate_rps, prompt=500, output=60, seed=1):
    draw, requests = random.Random(seed), set()

    async def ask():
        async for _ in host.engine.generate(prompt, output, (), 16, FinishReason.LENGTH):
            pass

    async def send():
        while True:
            requests.add(asyncio.create_task(ask()))
            await asyncio.sleep(draw.expovariate(rate_rps))

    sender = asyncio.create_task(send())
    try:
        yield
    finally:
        for task in (sender, *requests):
            task.cancel()
        await asyncio.gather(sender, *requests, return_exceptions=True)


def told_by(story, directory, forecasts, rate_rps=3, settings=SETTINGS, emulation=None):
    async def whole():
        launcher = InProcessLauncher(settings, emulation)
        async with Controller.running(directory, launcher, settings, forecasts) as controller:
            await controller.serving()
            async with traffic(launcher.host, rate_rps):
                told = await story(controller, launcher)
        await launcher.end()
        return told

    return in_virtual_time(whole())


async def planned(controller):
    return [r for r in await controller.history() if r.decision.author is Author.PLANNER]


def test_it_redeploys_once_and_then_keeps_still(tmp_path):
    """After two minutes of traffic the cheaper core is taken, watched, kept, and nothing follows."""

    async def story(controller, _):
        await asyncio.sleep(900)
        return await planned(controller), controller.loop.orders.state.own, controller.loop.target

    decisions, own, target = told_by(story, tmp_path, Forecasts())
    assert [r.decision.kind for r in decisions] == [DecisionKind.REDEPLOY, DecisionKind.KEEP, DecisionKind.KEEP]
    redeploy, held, again = decisions
    assert "since enough of the workload was seen" in redeploy.decision.reason
    assert redeploy.outcome.kind is OutcomeKind.APPLIED
    assert "its canary held" in held.decision.reason
    assert "decided again since its canary ended" in again.decision.reason
    assert target["tensor_parallel_size"] == 1
    assert held.decision.target == target
    assert own.trusts(target, held.at)
    assert own.canary is None


def test_a_canary_is_not_judged_by_what_its_boot_did(tmp_path):
    """Windows that end while the core boots are not of it; it is watched for its whole time afterwards."""

    async def story(controller, _):
        await asyncio.sleep(900)
        return await planned(controller)

    redeploy, held, *_ = told_by(story, tmp_path, Forecasts(), emulation=Emulation(boot_s=100))
    assert redeploy.outcome.duration_s >= 100
    assert "its canary held" in held.decision.reason
    assert held.at - redeploy.outcome_at > SETTINGS.decision.canary_s


def test_what_falls_short_is_rolled_back_and_not_tried_again(tmp_path):
    """A forecast that was far too good is found out in a minute of serving; the joules tell.

    Once the dwell is over the daemon tries another configuration that is as highly praised: distrust is of the one
    that was watched, and what a canary measures is for surrogates to learn from, which made-up forecasts do not.
    """

    async def story(controller, _):
        await asyncio.sleep(1000)
        return await planned(controller), controller.loop.orders.state.own, controller.loop.target

    decisions, own, target = told_by(story, tmp_path, Forecasts(one=0.01, spread=0.1))
    back = decisions[1]
    assert back.decision.kind is DecisionKind.REDEPLOY
    assert "back to what held before: the canary fell short" in back.decision.reason
    assert "0.01 (0.009 to 0.011) were forecast" in back.decision.reason
    assert back.outcome.kind is OutcomeKind.APPLIED
    assert target["tensor_parallel_size"] == 2
    distrusted = [configuration for configuration, _ in own.distrusted]
    assert {c["tensor_parallel_size"] for c in distrusted} == {1}
    assert back.enforced_before in distrusted
    tried = [r.decision.target for r in decisions if r.decision.target["tensor_parallel_size"] == 1]
    assert len(tried) == len(set(tried))
    forth = [r for r in decisions if r.decision.expected and r.decision.cold]
    since_last = [later.at - own.redeploys_at[2 * index - 1] for index, later in enumerate(forth) if index]
    assert len(forth) == 2
    assert min(since_last) >= SETTINGS.decision.min_dwell_s


def test_a_shift_is_an_occasion(tmp_path):
    """Long prompts where there were short ones: the decision tells how the workload shifted."""

    async def story(controller, launcher):
        await asyncio.sleep(600)
        async with traffic(launcher.host, 10, prompt=6000, output=20):
            await asyncio.sleep(150)
        return [r.decision.reason for r in await planned(controller)]

    reasons = told_by(story, tmp_path, Forecasts(one=4.0))
    assert any("decided again since the workload shifted, from chat to code: prompt length up" in r for r in reasons)


class OneIsEnoughUntil(Forecasts):
    """One GPU is cheaper, and holds the SLO up to a rate."""

    def __init__(self, most_rps):
        super().__init__()
        self.most_rps = most_rps

    def _of(self, configuration, context):
        forecast = super()._of(configuration, context)
        holds = configuration["tensor_parallel_size"] == 2 or context.arrival_rate_rps <= self.most_rps
        return forecast if holds else replace(forecast, ttft_p99_s=Estimate(5.0, 4.0, 6.0))


def test_a_load_that_climbs_finds_more_gpus_before_one_is_too_few(tmp_path):
    """The second GPU serves while the first could still do alone, before any window has told of it."""
    most_rps, steps, step_s = 12.0, 15, 10.0
    slow = SETTINGS.model_copy(update={"monitoring": SETTINGS.monitoring.model_copy(update={"window_s": 120.0})})

    async def story(controller, launcher):
        await asyncio.sleep(900)
        before = (await launcher.host.state()).enforced["tensor_parallel_size"]
        rate_rps, switched_at_rps = 3.0, None
        async with AsyncExitStack() as more:
            for _ in range(steps):
                await more.enter_async_context(traffic(launcher.host, 1.0, seed=steps + round(rate_rps)))
                rate_rps += 1.0
                await asyncio.sleep(step_s)
                gpus = (await launcher.host.state()).enforced["tensor_parallel_size"]
                if gpus == 2 and switched_at_rps is None:
                    switched_at_rps = rate_rps
        return before, switched_at_rps, [r.decision.reason for r in await planned(controller)]

    before, switched_at_rps, reasons = told_by(story, tmp_path, OneIsEnoughUntil(most_rps), settings=slow)
    assert before == 1
    assert switched_at_rps is not None
    assert switched_at_rps <= most_rps
    assert any(r.startswith("Redeploy") and "since the load climbs beyond " in r for r in reasons)


def test_an_operators_configuration_stands_until_he_lets_it_go(tmp_path):
    """What was applied is not undone; after `resume` the daemon decides again."""

    async def story(controller, _):
        await controller.submit("apply", changes={"block_size": 32})
        await asyncio.sleep(600)
        stood = await planned(controller), controller.loop.redeciding.standing_by
        await controller.submit("resume")
        await asyncio.sleep(120)
        return stood, (await planned(controller))[0].decision

    (stood, standing_by), decision = told_by(story, tmp_path, Forecasts())
    assert stood == []
    assert standing_by == "cli set block_size; the next objective or `reconfigure resume` lets it go on"
    assert decision.kind is DecisionKind.REDEPLOY


def test_paused_it_changes_nothing(tmp_path):
    """Whatever is forecast."""

    async def story(controller, _):
        await controller.submit("pause")
        await asyncio.sleep(600)
        return await planned(controller), controller.loop.redeciding.standing_by

    assert told_by(story, tmp_path, Forecasts()) == ([], "automatic changes are paused")


def test_an_objective_is_chosen_on_forecasts(tmp_path):
    """By the best of the candidates, watched like any redeploy that rests on a forecast."""

    async def story(controller, _):
        await controller.submit("pause")
        await asyncio.sleep(120)
        handled = await controller.submit("objective", objective=Objective.ENERGY)
        return handled.record.decision, controller.loop.orders.state.own.canary

    decision, canary = told_by(story, tmp_path, Forecasts())
    assert decision.target["tensor_parallel_size"] == 1
    assert "the best of 4 candidates that hold the SLO, with 2 (1 to 3) J per output token" in decision.reason
    assert canary.configuration == decision.target


def test_with_nothing_learned_objectives_have_their_names_and_it_keeps_still(tmp_path):
    """It says so, asks again now and then, and begins by itself once there is something."""
    forecasts = Forecasts(learned=False)

    async def story(controller, _):
        await asyncio.sleep(400)
        named = (await controller.submit("objective", objective=Objective.ENERGY)).record.decision
        before = await planned(controller), controller.loop.redeciding.standing_by
        forecasts.learned = True
        await asyncio.sleep(600)
        return named, before, (await planned(controller))[0].decision

    named, (still, standing_by), first = told_by(story, tmp_path, forecasts)
    assert (named.target["block_size"], named.target["tensor_parallel_size"]) == (32, 2)
    assert "by its name in config.yaml, since nothing is learned yet (made up for a test)" in named.reason
    assert still == []
    assert standing_by == "nothing is learned yet: made up for a test"
    assert first.kind is DecisionKind.REDEPLOY


def test_a_canary_outlives_its_controller(tmp_path):
    """The next controller goes on watching, and ends it."""

    async def whole():
        launcher = InProcessLauncher(SETTINGS)
        async with Controller.running(tmp_path, launcher, SETTINGS, Forecasts()) as controller:
            await controller.serving()
            async with traffic(launcher.host, 3):
                while controller.loop.orders.state.own.canary is None:  # noqa: ASYNC110  # virtual time
                    await asyncio.sleep(1)
        async with Controller.running(tmp_path, launcher, SETTINGS, Forecasts()) as controller:
            await controller.serving()
            watched = controller.loop.orders.state.own.canary
            async with traffic(launcher.host, 3):
                await asyncio.sleep(200)
            own, target = controller.loop.orders.state.own, controller.loop.target
        await launcher.end()
        return watched, own, target

    watched, own, target = in_virtual_time(whole())
    assert watched.expected["energy_per_output_token_j"] == Estimate(2.0, 1.0, 3.0)
    assert own.canary is None
    assert target == watched.configuration
    assert own.trusts(target, 0.0)
    terms = SETTINGS.decision.to_domain()
    assert free_at(own, watched.since, terms) == watched.since + terms.min_dwell_s


class SlowForecasts(Forecasts):
    """The first one takes 80 s."""

    async def forecasts(self, context):
        forecasts = await super().forecasts(context)
        await asyncio.sleep(80 if len(self.asked) == 1 else 0)
        return forecasts


def test_what_was_being_worked_out_when_it_was_paused_is_not_done(tmp_path):
    """Paused is paused, also for a decision that was on its way; it is made anew when changes go on."""
    forecasts = SlowForecasts()

    async def story(controller, _):
        while not forecasts.asked:  # noqa: ASYNC110  # virtual time
            await asyncio.sleep(1)
        await controller.submit("pause")
        await asyncio.sleep(300)
        paused = await planned(controller)
        await controller.submit("resume")
        await asyncio.sleep(300)
        return paused, await planned(controller)

    paused, later = told_by(story, tmp_path, forecasts)
    assert paused == []
    assert later[0].decision.kind is DecisionKind.REDEPLOY


def test_what_was_being_worked_out_under_another_objective_is_not_done(tmp_path):
    """The objective that is in force decides."""
    forecasts = SlowForecasts()

    async def story(controller, _):
        while not forecasts.asked:  # noqa: ASYNC110  # virtual time
            await asyncio.sleep(1)
        await controller.submit("objective", objective=Objective.THROUGHPUT)
        await asyncio.sleep(90)
        return [r.decision.kind for r in await planned(controller)]

    assert DecisionKind.REDEPLOY not in told_by(story, tmp_path, forecasts)


def test_what_is_reserved_for_the_night_is_left_with_it(tmp_path):
    """One GPU is for energy alone here, although it is forecast to serve as much: by day there are two."""
    given = SETTINGS.model_dump(mode="json", exclude_unset=True)
    given["space"]["tensor_parallel_size"]["reserved"] = {"energy": [1]}

    async def story(controller, _):
        await asyncio.sleep(300)
        night = controller.loop.target["tensor_parallel_size"]
        await controller.submit("objective", objective=Objective.THROUGHPUT)
        day = controller.loop.target["tensor_parallel_size"]
        await asyncio.sleep(1800)
        return night, day, controller.loop.target["tensor_parallel_size"]

    settings = Settings.model_validate(given)
    assert told_by(story, tmp_path, Forecasts(), settings=settings) == (1, 2, 2)
