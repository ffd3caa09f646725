"""The emulated engine sums its steps as a real core does, whether it takes them one by one or in stretches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.emulated_engine.accounting import StepAccount
from reconfigure_daemon.emulated_engine.decode_run import DecodeRun
from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler

runs = st.builds(
    DecodeRun,
    started_s=st.just(0.0),
    batch_time_s=st.floats(0.001, 0.1),
    kv_read_s_per_token=st.floats(1e-9, 1e-6),
    kv_tokens=st.integers(1, 100_000),
    batch=st.integers(1, 300),
    interval_s=st.sampled_from([0.0, 1.0]),
)


@given(runs, st.integers(1, 60), st.booleans())
def test_a_run_sums_to_what_its_steps_sum_to(run, steps, first_rested):
    """The closed form of a stretch equals adding each of its steps."""
    at_once, one_by_one = StepAccount(), StepAccount()
    at_once.add_run(run, steps, first_rested)
    for index in range(steps):
        rested = run.is_paced if index else first_rested
        one_by_one.add(0, run.batch, run.kv_tokens + index * run.batch, run.step_time_s(index), rested)
    assert at_once.totals(1).decode_only.products == pytest.approx(one_by_one.totals(1).decode_only.products, rel=1e-9)
    assert at_once.totals(1).back_to_back_steps == one_by_one.totals(1).back_to_back_steps


@pytest.mark.parametrize("interval_s", [0.0, 0.02])
def test_the_sums_agree_with_the_engine_counters(interval_s):
    """Steps, tokens, prompt tokens and busy time are those that the scheduler itself reports and needs."""
    scheduler = EmulatedScheduler(EngineModel(), SchedulerKnobs(pacing_interval_s=interval_s))
    for index in range(40):
        scheduler.submit(Arrival(str(index), index * 0.05, 700, 60))
    scheduler.advance(1000.0)
    steps, totals = scheduler.step_totals(), scheduler.totals()
    assert steps.steps == totals.iterations
    assert steps.prefill_tokens == totals.prompt_tokens
    assert steps.decode_tokens == totals.output_tokens - 40  # the prompt's step gives the first
    assert 40 * 700 * 20e-6 < steps.busy_s < 1000
    assert (steps.back_to_back_steps > totals.iterations / 2) == (interval_s == 0)
