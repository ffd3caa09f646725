"""Tuning sessions in virtual time: real loop, store and policies; the engine and its load are emulated."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.errors import ActionInProgress, RequestInvalid, RequestRefused
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.tuning import TuneRequest
from reconfigure_policies.surrogate import Quantity
from tests.simulation.controller import InProcessLauncher
from tests.simulation.tuned import LOAD, SETTINGS, ended, measured, tuned


def story(tmp_path, tell, emulation=None, settings=SETTINGS):
    """Run a story with a tuned controller from start to end."""

    async def told():
        launcher = InProcessLauncher(settings, emulation or Emulation(boot_s=5))
        async with tuned(tmp_path, launcher, settings) as controller:
            await tell(controller, launcher)
        await launcher.end()

    in_virtual_time(told())


def request(**facts):
    return TuneRequest.model_validate({**LOAD, "trials": 8, **facts})


def test_a_session_measures_what_it_was_asked_for_and_restores(tmp_path):
    """Eight trials with energy, throughput and latencies each; what was enforced before is enforced again."""

    async def tell(controller, launcher):
        before = dict((await launcher.host.state()).enforced)
        await controller.tuning.start(request())
        progress = await ended(controller.tuning)
        assert (progress.state, progress.record.outcome) == ("finished", "8 trials were measured")
        assert all(set(trial.measured) == set(Quantity) for trial in progress.trials)
        assert len(progress.configurations) == 8
        assert dict((await launcher.host.state()).enforced) == before
        assert controller.loop.decisions.slot.current is None
        assert dict(controller.loop.target) == before

    story(tmp_path, tell)


def test_a_flood_fills_every_replica(tmp_path):
    """Each has the running cap to itself: a saturated engine of two has twice as many requests, and more that wait."""
    given = SETTINGS.model_dump(exclude_unset=True)
    given["space"] = {
        "max_num_seqs": {"values": [8, 16], "default": 8},
        "data_parallel_size": {"values": [1, 2], "default": 1},
    }

    async def tell(controller, launcher):
        await controller.tuning.start(request(trials=4))
        progress = await ended(controller.tuning)
        places = {
            trial.configuration["max_num_seqs"] * trial.configuration["data_parallel_size"] for trial in progress.trials
        }
        assert places == {8, 16, 32}
        floods = {concurrency for rate_rps, concurrency, _ in controller.load.offers if rate_rps is None}
        assert floods == {8 + 4, 16 + 4, 32 + 8}

    story(tmp_path, tell, settings=Settings.model_validate(given))


def test_trials_of_one_core_come_one_after_the_other(tmp_path):
    """A design that names three cores in turn boots each of the other two once, after the running one's trials."""

    async def tell(controller, launcher):
        settings = SETTINGS.model_copy(update={"learning": SETTINGS.learning.model_copy(update={"min_trials": 8})})
        controller.tuning._means = replace(controller.tuning._means, settings=lambda: settings)
        await controller.tuning.start(request(trials=8))
        progress = await ended(controller.tuning)
        cores = [trial.configuration["block_size"] for trial in progress.trials]
        assert cores == sorted(cores, key=cores.index)
        assert sum(each.moved_cold for each in progress.tried) == len(set(cores)) - 1 == 2

    story(tmp_path, tell)


def test_every_trial_is_a_stored_decision_with_its_reason(tmp_path):
    """What the engine was changed for can be read afterwards, and how each change ended."""

    async def tell(controller, launcher):
        await controller.tuning.start(request(trials=4))
        await ended(controller.tuning)
        history = await controller.history()
        reasons = [record.decision.reason for record in history]
        assert any("trial 2 of 4: to cover the space" in reason for reason in reasons)
        assert any("back to what was enforced before the session" in reason for reason in reasons)
        assert all(record.outcome is not None for record in history if record.decision.hot or record.decision.cold)

    story(tmp_path, tell)


def test_after_the_design_the_surrogates_choose(tmp_path):
    """Four trials cover the space, the rest is suggested, each with what was expected of it."""

    async def tell(controller, launcher):
        await controller.tuning.start(request())
        progress = await ended(controller.tuning)
        assert [each.proposal.by for each in progress.tried] == ["start", *["sobol"] * 3, *["nehvi"] * 4]
        assert all(each.proposal.forecast for each in progress.tried[4:])

    story(tmp_path, tell)


def test_meanwhile_operators_are_refused_and_nothing_is_learned_as_traffic(tmp_path):
    """The slot is held, so that governor and automatic decisions stand by; windows of the load are not kept."""

    async def tell(controller, launcher):
        await controller.tuning.start(request())
        await asyncio.sleep(40)
        with pytest.raises(ActionInProgress, match="tune"):
            await controller.submit("apply", changes={"max_num_seqs": 4})
        await ended(controller.tuning)
        assert await controller.store.observations() == []
        assert await controller.trials.windows(10) == []

    story(tmp_path, tell)


def test_a_stopped_session_restores_and_is_resumed_where_it_stopped(tmp_path):
    """Ctrl-C ends the trial under way; --resume measures only what is left."""

    async def tell(controller, launcher):
        before = dict((await launcher.host.state()).enforced)
        await controller.tuning.start(request())
        await measured(controller.tuning, 3)
        await controller.tuning.stop()
        progress = await ended(controller.tuning)
        assert progress.state == "stopped"
        assert "--resume" in progress.record.outcome
        assert dict((await launcher.host.state()).enforced) == before
        done = progress.configurations
        await controller.tuning.resume()
        progress = await ended(controller.tuning)
        assert (progress.state, len(progress.trials)) == ("finished", 8)
        assert len(progress.configurations) == 8
        assert done <= progress.configurations
        with pytest.raises(RequestRefused, match="has measured its 8 trials"):
            await controller.tuning.resume()

    story(tmp_path, tell)


def test_a_session_whose_controller_died_is_undone_by_the_next(tmp_path):
    """The engine serves on under a trial's configuration; the next controller brings the one from before back."""

    async def told():
        launcher = InProcessLauncher(SETTINGS, Emulation(boot_s=5))
        async with tuned(tmp_path, launcher, SETTINGS) as controller:
            before = dict((await launcher.host.state()).enforced)
            await controller.tuning.start(request())
            await measured(controller.tuning, 3)
        assert dict((await launcher.host.state()).enforced) != before
        async with tuned(tmp_path, launcher, SETTINGS) as controller:
            await asyncio.sleep(120)
            assert dict((await launcher.host.state()).enforced) == before
            assert dict(controller.loop.target) == before
            await controller.tuning.resume()
            assert (await ended(controller.tuning)).state == "finished"
        await launcher.end()

    in_virtual_time(told())


def test_a_core_that_does_not_boot_is_a_label_and_not_the_end(tmp_path):
    """What failed is told in the engine's words and never measured; the others are."""

    async def tell(controller, launcher):
        await controller.tuning.start(request(trials=18))
        progress = await ended(controller.tuning)
        assert progress.state == "finished"
        failed = [trial for trial in progress.trials if not trial.feasible]
        assert failed
        assert all(trial.configuration["block_size"] == 32 for trial in failed)
        assert all(trial.reason and not trial.measured for trial in failed)
        assert len(progress.trials) - len(failed) == 12

    fault = {"when": {"block_size": 32}, "fault": "out_of_memory"}
    story(tmp_path, tell, Emulation.model_validate({"boot_s": 5, "faults": [fault]}))


def test_a_cap_that_clients_hold_up_is_waited_for(tmp_path):
    """Their requests run on above it for a while; the session measures when it holds, and does not give up."""

    async def tell(controller, launcher):
        state, held_up = launcher.host.state, {}

        async def state_while_they_run():
            found = await state()
            cap = found.enforced["max_num_seqs"]
            held_up[cap] = held_up.get(cap, 0) + 1
            if cap == 8 or held_up[cap] > 5:
                return found
            return found.model_copy(
                update={"enforced": {**found.enforced, "max_num_seqs": cap + 1}, "live_requests": 7}
            )

        launcher.host.state = state_while_they_run
        await controller.tuning.start(request(trials=6, despite_traffic=True))
        progress = await ended(controller.tuning)
        assert (progress.state, progress.record.outcome) == ("finished", "6 trials were measured")
        lowered = [trial for trial in progress.trials if trial.configuration["max_num_seqs"] < 8]
        assert lowered
        assert all(held_up[trial.configuration["max_num_seqs"]] > 5 for trial in lowered)

    story(tmp_path, tell)


def test_an_engine_that_refuses_its_requests_is_no_slow_engine(tmp_path):
    """A trial without a single answer is a failure in the server's words, not a measurement of nothing."""

    async def tell(controller, launcher):
        controller.load.refuses = lambda host: True
        await controller.tuning.start(request(trials=2))
        progress = await ended(controller.tuning)
        assert [trial.feasible for trial in progress.trials] == [False, False]
        assert "HTTP 500: no core" in progress.trials[0].reason

    story(tmp_path, tell)


@pytest.mark.parametrize(("budget", "words"), [({"budget_s": 60}, "1m"), ({"budget_j": 5000}, "5000 J")])
def test_a_budget_ends_it(tmp_path, budget, words):
    """In time or joules; no trial begins once it is spent."""

    async def tell(controller, launcher):
        await controller.tuning.start(request(trials=18, **budget))
        progress = await ended(controller.tuning)
        assert progress.record.outcome == f"the budget of {words} is spent"
        assert 1 < len(progress.trials) < 18

    story(tmp_path, tell)


def test_a_small_space_is_tried_to_its_end(tmp_path):
    """There is nothing more to try after all of its eighteen candidates."""

    async def tell(controller, launcher):
        await controller.tuning.start(request(trials=100))
        progress = await ended(controller.tuning)
        assert (progress.record.outcome, len(progress.trials)) == ("all 18 candidates were tried", 18)

    story(tmp_path, tell)


def test_what_was_recorded_is_offered_again(tmp_path):
    """Lengths and rate of the windows that the store has, and no prompt."""

    async def tell(controller, launcher):
        with pytest.raises(RequestRefused, match="nothing was recorded"):
            await controller.tuning.start(request(recorded=True, lengths=[], arrival_rate_rps=None))
        state = await launcher.host.state()
        async with controller.load.offered(state, [(100, 20)], 2.0, 1, 0):
            await asyncio.sleep(100)
        await asyncio.sleep(60)
        await controller.tuning.start(request(trials=2, recorded=True, lengths=[], arrival_rate_rps=None))
        progress = await ended(controller.tuning)
        context = progress.record.context
        assert context.arrival_rate_rps == pytest.approx(2.0, rel=0.1)
        assert (context.prompt_tokens, context.output_tokens) == (
            pytest.approx(100, rel=0.1),
            pytest.approx(20, rel=0.1),
        )

    story(tmp_path, tell)


def test_clients_that_are_served_are_not_made_to_wait_unasked(tmp_path):
    """With live requests it is refused, unless the operator insists."""

    async def tell(controller, launcher):
        state = await launcher.host.state()
        async with controller.load.offered(state, [(100, 2000)], None, 2, 0):
            await asyncio.sleep(1)
            with pytest.raises(RequestRefused, match="2 requests of clients are live"):
                await controller.tuning.start(request())
            await controller.tuning.start(request(trials=2, despite_traffic=True))
            assert (await ended(controller.tuning)).state == "finished"

    story(tmp_path, tell)


def test_a_session_without_a_load_is_refused(tmp_path):
    """Neither a trace nor what was recorded."""

    async def tell(controller, launcher):
        with pytest.raises(RequestInvalid, match="there is no load to offer"):
            await controller.tuning.start(request(lengths=[]))
        with pytest.raises(RequestRefused, match="no session to resume"):
            await controller.tuning.resume()
        with pytest.raises(RequestRefused, match="no tuning session runs"):
            await controller.tuning.stop()

    story(tmp_path, tell)
