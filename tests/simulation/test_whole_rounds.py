"""Trials of a full engine say what it serves in the long run, although it fills up slowly and swings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_daemon.load_generation.load_source import under_way
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.tuning import TuneRequest
from reconfigure_daemon.tuning.rounds import is_steady, whole_rounds
from reconfigure_policies.domain.workload import IterationTotals
from reconfigure_policies.surrogate import Quantity
from tests.simulation.controller import InProcessLauncher
from tests.simulation.tuned import ended, tuned

#: About a 24B model on an H200: a prompt of 512 tokens takes as long as three steps that only decode.
PROMPT_BOUND = EngineModel(weight_read_s=0.013, compute_s_per_token=51e-6)
PROMPT_TOKENS, OUTPUT_TOKENS = 512, 64
PLACES = (16, 64, 128)
NOTHING = IterationTotals(0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0)
SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": list(PLACES), "default": 16},
            "max_num_batched_tokens": {"values": [8192]},
        },
        "learning": {"min_trials": 3},
    }
)
REQUEST = TuneRequest(
    trials=3, lengths=[(PROMPT_TOKENS, OUTPUT_TOKENS)], arrival_rate_rps=2.0, settle_s=1, window_s=2, saturated_s=3
)


def kept_full(places, for_s, look_s=0.05):
    """Totals of an engine, again and again, that is kept full for so long."""
    scheduler = EmulatedScheduler(PROMPT_BOUND, SchedulerKnobs(max_num_seqs=places, max_num_batched_tokens=8192))
    begun = ended = places + places // 4
    for request in under_way([(PROMPT_TOKENS, OUTPUT_TOKENS)], begun):
        scheduler.submit(Arrival(str(request.index), 0.0, request.prompt_tokens, request.output_tokens))
    for number in range(1, round(for_s / look_s)):
        for _ in scheduler.advance(number * look_s):
            scheduler.submit(Arrival(str(ended), number * look_s, PROMPT_TOKENS, OUTPUT_TOKENS))
            ended += 1
        yield scheduler.totals()


def rate_tps(first, last):
    return (last.output_tokens - first.output_tokens) / (last.at_s - first.at_s)


def served_in_the_long_run_tps(places):
    """Output tokens a second, over minutes."""
    totals = [each for each in kept_full(places, 240.0) if each.at_s >= 40.0]
    return rate_tps(totals[0], totals[-1])


@pytest.fixture(scope="module")
def throughputs_tps(tmp_path_factory):
    """By places, what trials measured."""
    found = {}

    async def told():
        launcher = InProcessLauncher(SETTINGS, Emulation(), partial(EmulatedHost, base=PROMPT_BOUND))
        async with tuned(tmp_path_factory.mktemp("rounds"), launcher, SETTINGS) as controller:
            await controller.tuning.start(REQUEST)
            for trial in (await ended(controller.tuning)).trials:
                found[trial.configuration["max_num_seqs"]] = trial.measured[Quantity.THROUGHPUT].value
        await launcher.end()

    in_virtual_time(told())
    return found


@pytest.mark.parametrize("places", PLACES)
def test_a_trial_measures_what_is_served_in_the_long_run(throughputs_tps, places):
    """Within three per cent; three seconds, one after the flood began, would say 235 tokens/s for 128 places."""
    assert throughputs_tps[places] == pytest.approx(served_in_the_long_run_tps(places), rel=0.03)


@pytest.mark.parametrize("places", [64, 128])
def test_whole_rounds_agree_wherever_they_begin(places):
    """Within three per cent, where windows of three seconds, which cut one, are more than a twentieth apart."""
    totals = [each for each in kept_full(places, 60.0) if is_steady(NOTHING, each, places + places // 4)]
    whole, cut = [], []
    for begin in range(0, 300, 13):
        start, end = totals[begin], begin + 60
        cut.append(rate_tps(start, totals[end]))
        ended = whole_rounds(start, totals[end])
        while whole_rounds(start, totals[end]) == ended:
            end += 1
        whole.append(rate_tps(start, totals[end]))
    assert max(whole) / min(whole) < 1.03
    assert max(cut) / min(cut) > 1.05


def test_a_round_is_as_many_requests_as_ran():
    """It ends with the last of them: not before, and not again until as many more have ended."""
    start = replace(NOTHING, finished=5, running=4)
    ended = [whole_rounds(start, replace(NOTHING, finished=finished)) for finished in (7, 8, 9, 12, 13, 17, 17)]
    assert ended == [0, 0, 1, 1, 2, 3, 3]
