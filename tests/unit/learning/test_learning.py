"""When surrogates are fitted, to what, and who may act on them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from benchmarks.harness.virtual_time import LoopClock, in_virtual_time
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.learning import Learning, Methods
from reconfigure_daemon.learning.training import training_set
from reconfigure_daemon.ports import Served
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import (
    Measured,
    Quantity,
    SurrogateCannotBeFitted,
    Trial,
    trial_from_failed_boot,
)
from tests.known_surrogates import known_methods, law

SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [16, 32, 64], "default": 64},
            "pacing_interval_s": {"values": [0, 0.02]},
            "dtype": {"values": ["bfloat16", "float16"]},
        },
        "learning": {"min_trials": 3, "max_trials": 10, "refit_interval_s": 600},
    }
)
SPACE = SETTINGS.configuration_space()
CONTEXT = WorkloadContext(4.0, 512.0, 128.0)
SERVED = Served("emulated", "1", "small", "emulated")


def trial(at, cap=16, factor=1.0):
    configuration = SPACE.default().with_changes({"max_num_seqs": cap})
    energy_j, throughput_tps = law(configuration)
    measured = {Quantity.ENERGY: Measured(energy_j * factor), Quantity.THROUGHPUT: Measured(throughput_tps)}
    return Trial(configuration, CONTEXT, at, measured)


class Memory:
    """Trials in a list, and how often it was asked."""

    def __init__(self, trials=()):
        self.kept = list(trials)
        self.asked = 0
        self.fits = []

    async def trials(self, served, limit):
        self.asked += 1
        return self.kept[-limit:]

    async def record_fit(self, at, report):
        self.fits.append(report)


def learning(memory, methods=None, served=lambda: SERVED):
    methods = methods or known_methods()[0]
    return Learning(lambda: SETTINGS, LoopClock(), memory, Metrics("test"), served, methods)


def test_too_few_trials_foretell_nothing_and_fit_nothing():
    """It says how many are there and how many are needed, and no fit is tried."""
    methods, fits = known_methods()

    async def story():
        learned = learning(Memory([trial(1), trial(2)]), methods)
        assert await learned.forecasts(CONTEXT) is None
        assert learned.describe() == "2 trials of 3 needed"

    in_virtual_time(story())
    assert fits == []


def test_every_candidate_is_foretold_once_there_is_enough():
    """One forecast for each configuration that the space enumerates."""

    async def story():
        forecasts = await learning(Memory([trial(at) for at in range(3)])).forecasts(CONTEXT)
        assert [each.configuration for each in forecasts] == list(SPACE.enumerate())

    in_virtual_time(story())


def test_a_fit_is_repeated_only_after_its_interval_and_for_news():
    """Asking often costs nothing; a fit comes when ten minutes are over and something has come since."""
    methods, fits = known_methods()

    async def story():
        memory = Memory([trial(at) for at in range(3)])
        learned = learning(memory, methods)
        for _ in range(5):
            await learned.forecasts(CONTEXT)
        memory.kept.append(trial(2_000_000_000.0))
        await learned.forecasts(CONTEXT)
        assert fits == [3]
        await asyncio.sleep(601)
        await learned.forecasts(CONTEXT)
        await asyncio.sleep(601)
        await learned.forecasts(CONTEXT)
        assert fits == [3, 4]

    in_virtual_time(story())


def test_a_decision_asks_under_two_workloads_and_each_is_foretold_once():
    """The usual one and the busiest, in turn: thousands of candidates are not foretold again while neither moves."""
    methods, _ = known_methods()
    busy = replace(CONTEXT, arrival_rate_rps=9.0)

    async def story():
        learned = learning(Memory([trial(at) for at in range(3)]), methods)
        first = [await learned.forecasts(context) for context in (CONTEXT, busy)]
        again = [await learned.forecasts(context) for context in (CONTEXT, busy)]
        assert all(one is other for one, other in zip(first, again, strict=True))
        assert {each.context for each in again[1]} == {busy}
        await learned.forecasts(replace(CONTEXT, arrival_rate_rps=1.0))
        assert await learned.forecasts(CONTEXT) is not first[0]  # only the last two are kept

    in_virtual_time(story())


def test_a_session_gets_its_news_at_once():
    """`fresh` does not wait for the interval."""
    methods, fits = known_methods()

    async def story():
        memory = Memory([trial(at) for at in range(3)])
        learned = learning(memory, methods)
        await learned.fitted()
        memory.kept.append(trial(9.0))
        await learned.fitted(fresh=True)

    in_virtual_time(story())
    assert fits == [3, 4]


def test_what_comes_after_a_fit_is_checked_against_what_it_foretold():
    """A window with a tenth more energy than foretold shows as an error and a drift of a tenth."""

    async def story():
        memory = Memory([trial(at) for at in range(3)])
        learned = learning(memory)
        await learned.fitted()
        memory.kept.append(trial(2_000_000_000.0, factor=1.1))
        await learned.fitted(fresh=True)
        energy = (await learned.report()).checked[Quantity.ENERGY]
        assert energy.count == 1
        assert energy.mape == pytest.approx(0.0909, abs=1e-3)
        assert energy.bias == pytest.approx(0.0953, abs=1e-3)

    in_virtual_time(story())


def test_nobody_acts_on_surrogates_that_are_not_to_be_trusted():
    """They can be looked at, with the reason; forecasts to act on there are none."""
    methods, _ = known_methods(faults=["worse than a straight line"])

    async def story():
        learned = learning(Memory([trial(at) for at in range(3)]), methods)
        assert await learned.forecasts(CONTEXT) is None
        assert await learned.expectations(CONTEXT)
        assert "not to be trusted: worse than a straight line" in learned.describe()

    in_virtual_time(story())


def test_a_fit_that_fails_leaves_the_one_before_in_force():
    """Its reason is told, and forecasts go on."""
    methods, fits = known_methods()

    def fit(trials, space, options=None, warm=None):
        if fits:
            raise SurrogateCannotBeFitted("energy_per_output_token_j", len(trials), "not positive definite")
        return methods.fit(trials, space, options, warm)

    async def story():
        memory = Memory([trial(at) for at in range(3)])
        learned = learning(memory, Methods(fit, methods.quality))
        await learned.fitted()
        memory.kept.append(trial(9.0))
        assert await learned.fitted(fresh=True) is not None
        assert "not positive definite" in learned.describe()

    in_virtual_time(story())


def test_another_model_starts_from_nothing():
    """What was learned of one model is not told of the next."""
    methods, _ = known_methods()
    served = [SERVED]

    async def story():
        memory = Memory([trial(at) for at in range(3)])
        learned = learning(memory, methods, lambda: served[0])
        await learned.fitted()
        served[0] = replace(SERVED, model="large")
        memory.kept.clear()
        assert await learned.fitted() is None

    in_virtual_time(story())


def test_trials_are_learned_from_in_the_space_of_today():
    """A knob that was not there had its default, one that is gone is dropped, and an unknown word says nothing."""
    old = Trial(Configuration({"max_num_seqs": 24, "gone": 1}), CONTEXT, 1.0, {Quantity.ENERGY: Measured(0.3)})
    unknown = replace(old, configuration=Configuration({"max_num_seqs": 16, "dtype": "float8"}))
    empty = replace(old, measured={})
    failed = trial_from_failed_boot(SPACE.default(), CONTEXT, 2.0, "out of memory")
    kept = training_set([old, unknown, empty, failed], SPACE)
    assert [dict(each.configuration) for each in kept] == [
        {"max_num_seqs": 24, "pacing_interval_s": 0, "dtype": "bfloat16"},
        dict(SPACE.default()),
    ]
