"""A controller that measures on purpose: its load is generated inside the emulated engine, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from itertools import count

from reconfigure_daemon.assembly.tuning import build_tuning
from reconfigure_daemon.assembly.wiring import Surroundings
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.learning import Learning
from reconfigure_daemon.load_generation.load_source import under_way
from reconfigure_daemon.load_generation.offered_load import LoadTally
from reconfigure_daemon.ports import Served
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.store import SqliteTrials
from reconfigure_daemon.tuning import Proposing
from reconfigure_policies.domain.workload import FinishReason
from reconfigure_policies.surrogate import Suggestion, Suggestions
from tests.known_surrogates import known_methods
from tests.simulation.controller import Controller

LOAD = {"lengths": [(64, 16), (32, 24)], "arrival_rate_rps": 4.0, "settle_s": 1.0, "window_s": 4.0, "saturated_s": 1.0}

#: A small space, so that few streams run at once; its design has four trials.
SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [2, 4, 8], "default": 8},
            "pacing_interval_s": {"values": [0, 0.02]},
            "block_size": {"values": [16, 32, 64]},
        },
        "learning": {"min_trials": 4},
    }
)


class VirtualLoad:
    """A `LoadSource` without HTTP; `refusals` are prompts' lengths that the engine takes none of."""

    def __init__(self, launcher):
        self.launcher = launcher
        self.offers = []
        self.refuses = lambda host: False

    @asynccontextmanager
    async def offered(self, host, lengths, rate_rps, concurrency, seed):
        self.offers.append((rate_rps, concurrency, seed))
        tally, tasks = LoadTally(), set()

        async def one(index, of=None):
            tally.sent += 1
            if self.refuses(self.launcher.host):
                tally.failed, tally.fault = tally.failed + 1, "HTTP 500: no core"
                await asyncio.sleep(0.5)
                return
            prompt, output = of or lengths[index % len(lengths)]
            async with aclosing(
                self.launcher.host.engine.generate(prompt, output, (), 16, FinishReason.LENGTH)
            ) as tokens:
                async for _ in tokens:
                    pass
            tally.completed += 1

        async def arriving():
            for index in count():
                await asyncio.sleep(1 / rate_rps)
                tasks.add(asyncio.create_task(one(index)))

        async def always(begun):
            await one(begun.index, (begun.prompt_tokens, begun.output_tokens))
            for index in count(begun.index * 1000):
                await one(index)

        tasks |= {
            asyncio.create_task(always(begun)) for begun in under_way(lengths, concurrency)
        } if rate_rps is None else {asyncio.create_task(arriving())}  # fmt: skip
        try:
            yield tally
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def in_the_space_order(candidates, space, count, seed=0):
    return tuple(candidates[:count])


def the_first_untried(surrogates, candidates, context, slo, batch, options, cost_j_of, enforced):
    forecasts = surrogates.forecast(candidates[:batch], context)
    return Suggestions(tuple(Suggestion(each, 1.0, 1.0, 1.0, "it adds most") for each in forecasts), (0, 1), 1.0, 1.0)


@asynccontextmanager
async def tuned(directory, launcher, settings=SETTINGS):
    """A running controller with `tuning`, `trials`, `load` and the numbers of fits."""
    async with Controller.running(directory, launcher, settings) as controller:
        await controller.serving()
        trials, metrics = SqliteTrials(controller.store), Metrics("test")
        methods, controller.fits = known_methods()
        state = controller.loop.sampler.state
        served = Served(state.engine, state.engine_version, state.model, "emulated")
        learner = Learning(lambda: settings, controller.clock, trials, metrics, lambda: served, methods)
        meter = controller.loop.sampler._meter
        around = Surroundings(lambda: settings, controller.clock, controller.store, meter, metrics, launcher)
        controller.load = VirtualLoad(launcher)
        proposing = Proposing(in_the_space_order, the_first_untried)
        controller.trials, controller.served = trials, served
        controller.tuning = build_tuning(around, controller.loop, trials, learner, controller.load, proposing)
        running = asyncio.create_task(controller.tuning.run())
        try:
            yield controller
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            learner.close()


async def ended(tuning):
    """Wait until the session has ended."""
    while tuning.progress.state == "running":  # noqa: ASYNC110  # virtual time
        await asyncio.sleep(1)
    await asyncio.sleep(1)
    return tuning.progress


async def measured(tuning, trials):
    """Wait until so many were measured."""
    while len(tuning.progress.trials) < trials:  # noqa: ASYNC110  # virtual time
        await asyncio.sleep(1)
