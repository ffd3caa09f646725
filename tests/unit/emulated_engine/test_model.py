"""The step-time and power model has the shape of the GPU it was made after."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel, model_for
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_daemon.load_generation.plan import PlanOptions, plan_replay
from reconfigure_daemon.load_generation.trace_reader import TraceReader

PROJECT = Path(__file__).parents[3]
MEASURED = PROJECT / "benchmarks" / "results" / "gpu.pacing.json"
TRACE = PROJECT.parent / "shared" / "traces" / "azure_2023_conv.csv.gz"

SIMULATED_S = 120.0


def replay(rate_rps, pacing_interval_s=0.0, configuration=None, seed=1):
    """Two virtual minutes of Poisson arrivals of 512 + 128 tokens; the scheduler at their end, and all ends."""
    knobs = SchedulerKnobs(max_num_seqs=128, pacing_interval_s=pacing_interval_s)
    scheduler = EmulatedScheduler(model_for(configuration or {}), knobs)
    chance, at_s, index = random.Random(seed), 0.0, 0
    while (at_s := at_s + chance.expovariate(rate_rps)) < SIMULATED_S:
        scheduler.submit(Arrival(str(index), at_s, 512, 128))
        index += 1
    return scheduler, scheduler.advance(SIMULATED_S)


def energy_per_token_j(*args, **kwargs):
    scheduler, _ = replay(*args, **kwargs)
    return scheduler.energy_j / scheduler.totals().output_tokens


def test_mean_power_is_near_the_measured():
    """Under the recorded conversations it is within a tenth of what an H200 drew, unpaced and at every pace."""
    measured = json.loads(MEASURED.read_text())
    options = PlanOptions(start_s=measured["arguments"]["start"], limit_s=400)
    if not TRACE.exists():
        pytest.skip(f"{TRACE} is not here; put Azure's trace of 2023 there")
    requests = plan_replay(TraceReader(TRACE), options).requests
    scheduler = EmulatedScheduler(EngineModel(), SchedulerKnobs(max_num_seqs=256))
    for request in requests:
        scheduler.submit(Arrival(str(request.index), request.due_s, request.prompt_tokens, request.output_tokens))
    stretches = measured["details"]["stretches"]
    begun_s = stretches[0]["began_s"] - 5.0
    for stretch in stretches:
        scheduler.set_knobs(scheduler.knobs.changed({"pacing_interval_s": stretch["pacing_interval_s"]}))
        scheduler.advance(stretch["began_s"] - begun_s)
        before_j = scheduler.energy_j
        scheduler.advance(stretch["ended_s"] - begun_s)
        assert scheduler.energy_j - before_j == pytest.approx(stretch["energy_j"], rel=0.1)


def test_a_step_of_few_tokens_takes_what_was_measured():
    """Reading the weights bounds a small batch: 4.8 ms."""
    assert EngineModel().step_time_s(0, 2, 1200) == pytest.approx(0.0048, rel=0.02)


@pytest.mark.parametrize("rate_rps", [1, 2, 5, 10])
def test_pacing_saves_energy_at_low_load(rate_rps):
    """Fewer, fuller steps cost fewer joules per token, the more so the longer the interval."""
    per_token_j = [energy_per_token_j(rate_rps, interval_s) for interval_s in (0.0, 0.01, 0.02, 0.03)]
    assert per_token_j == sorted(per_token_j, reverse=True)
    assert per_token_j[-1] < 0.65 * per_token_j[0]


def test_a_full_engine_is_not_paced():
    """Who waits for a place makes the batch go on, as in the engine: the cap serves what it serves without a pace."""

    def served_at(pacing_interval_s):
        knobs = SchedulerKnobs(max_num_seqs=16, pacing_interval_s=pacing_interval_s)
        scheduler = EmulatedScheduler(EngineModel(), knobs)
        for index in range(300):
            scheduler.submit(Arrival(str(index), index / 10, 512, 128))
        scheduler.advance(30.0)
        return scheduler.totals()

    paced, unpaced = served_at(0.045), served_at(0.0)
    assert paced.waiting <= 1
    assert paced.finished >= unpaced.finished - 16  # a pace that the cap cannot afford fills the batch, and no more
    assert paced.iterations < 0.8 * unpaced.iterations


def test_a_pace_takes_no_capacity_from_a_full_engine():
    """As many tokens with a pace as without: prompts run beside a batch that has no room for all who wait."""

    def served_at(pacing_interval_s):
        scheduler = EmulatedScheduler(
            EngineModel(), SchedulerKnobs(pacing_interval_s=pacing_interval_s, max_num_seqs=64)
        )
        for index in range(600):
            scheduler.submit(Arrival(str(index), 0.0, 512, 48 + index % 32))
        scheduler.advance(4.0)
        assert scheduler.totals().waiting > 64
        return scheduler.totals().output_tokens

    unpaced = served_at(0.0)
    assert [served_at(interval_s) for interval_s in (0.01, 0.03, 0.1)] == pytest.approx([unpaced] * 3, rel=0.01)


def test_energy_per_token_falls_with_load():
    """Idle power and the base of a step are shared by more tokens."""
    per_token_j = [energy_per_token_j(rate_rps) for rate_rps in (1, 4, 16)]
    assert per_token_j == sorted(per_token_j, reverse=True)


def test_fewer_gpus_save_energy_and_give_up_throughput():
    """From four GPUs to one: over a third fewer joules per token at low load, and a longer step under full load."""
    four = {"tensor_parallel_size": 4}
    assert energy_per_token_j(5) < 0.67 * energy_per_token_j(5, configuration=four)
    one_s, four_s = (model_for(c).step_time_s(512, 256, 200_000) for c in ({}, four))
    assert 1.8 < one_s / four_s < 3.5


@pytest.mark.parametrize(
    ("configuration", "change"),
    [
        ({"kv_cache_dtype": "fp8"}, {"kv_read_s_per_token": 20e-9, "kv_capacity_tokens": 1_600_000}),
        ({"enforce_eager": True}, {"step_overhead_s": 0.0048}),
        ({"enforce_eager": False, "block_size": 32, "kv_cache_dtype": "auto"}, {}),
    ],
)
def test_cold_knobs_that_the_model_knows(configuration, change):
    """Cache type and eager mode change what they should and nothing else; other knobs change nothing."""
    expected = replace(EngineModel(), **change)
    assert model_for(configuration).step_time_s(10, 5, 1000) == pytest.approx(expected.step_time_s(10, 5, 1000))
    assert model_for(configuration).kv_capacity_tokens == expected.kv_capacity_tokens
