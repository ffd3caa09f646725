"""The model of windows agrees with the emulated engine that works out each step."""

from __future__ import annotations

import pytest

from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import model_for
from reconfigure_daemon.emulated_engine.requests import Arrival
from reconfigure_daemon.emulated_engine.scheduler import EmulatedScheduler
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.virtual_world.traffic import WindowTraffic, merged, windows_of
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.objective import ServiceLevelObjective
from tests.simulation.plant import poisson

SLO = ServiceLevelObjective(ttft_s=1.0, tpot_s=0.05)
SPAN_S = 300.0


def configuration(**knobs):
    return Configuration({"max_num_seqs": 256, "max_num_batched_tokens": 8192, **knobs})


def traffic(rate_rps, prompt=512, output=128):
    n = rate_rps * SPAN_S
    return WindowTraffic(SPAN_S, n, n * prompt, n * output, prompt)


def emulated(rate_rps, chosen, prompt=512, output=128):
    """Joules and the share inside the SLO, step by step."""
    scheduler = EmulatedScheduler(model_for(chosen), SchedulerKnobs().changed(chosen))
    for arrival in poisson(rate_rps, SPAN_S, prompt, output):
        scheduler.submit(Arrival(arrival.id, arrival.at_s, prompt, output))
    done = scheduler.advance(SPAN_S)
    met = sum(SLO.met_by(each.record) for each in done)
    return scheduler.energy_j, met / len(done)


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("interval_s", [0.0, 0.03])
@pytest.mark.parametrize("rate_rps", [2, 10, 30])
def test_joules_and_attainment_agree_with_every_step_worked_out(rate_rps, interval_s, gpus):
    """Within a tenth of the joules, and a fiftieth of the requests."""
    chosen = configuration(pacing_interval_s=interval_s, tensor_parallel_size=gpus)
    served = WindowModel(SLO).serve(traffic(rate_rps), chosen)
    energy_j, attained = emulated(rate_rps, chosen)
    assert served.energy_j == pytest.approx(energy_j, rel=0.1)
    assert served.slo_met / (rate_rps * SPAN_S) == pytest.approx(attained, abs=0.02)


def test_capacity_is_where_the_emulated_queue_begins_to_grow():
    """Below it requests are served as they come; above it they pile up."""
    chosen = configuration()
    capacity_rps = WindowModel(SLO).capacity_rps(traffic(10).workload, chosen)
    waiting = []
    for factor in (0.8, 1.5):
        scheduler = EmulatedScheduler(model_for(chosen), SchedulerKnobs().changed(chosen))
        for arrival in poisson(factor * capacity_rps, 60):
            scheduler.submit(arrival)
        scheduler.advance(60.0)
        waiting.append(scheduler.totals().waiting)
    assert waiting[0] < 50 < 500 < waiting[1]


def test_what_cannot_be_served_waits_and_is_served_later():
    """Past capacity a backlog is left, which the next window works off; requests that waited too long are no good."""
    model, chosen = WindowModel(SLO), configuration()
    flood = traffic(3 * model.capacity_rps(traffic(10).workload, chosen))
    first = model.serve(flood, chosen)
    assert first.backlog > 0
    assert first.slo_met == 0
    after = model.serve(traffic(1), chosen, first.backlog)
    assert after.backlog < first.backlog
    assert after.finished > traffic(1).arrivals


def test_without_requests_only_idle_power_is_used():
    """On every device of the deployment."""
    empty = WindowTraffic(30.0, 0, 0, 0, 0)
    for gpus in (1, 4):
        chosen = configuration(tensor_parallel_size=gpus)
        assert WindowModel(SLO).serve(empty, chosen).energy_j == model_for(chosen).idle_power_w * 30


def test_a_plan_is_cut_into_half_minutes():
    """Quiet ones included; each recorded request may stand for several."""
    requests = [PlannedRequest(0, 1.0, 100, 10), PlannedRequest(1, 2.0, 300, 30), PlannedRequest(2, 61.0, 50, 5)]
    windows = windows_of(requests, times=3)
    assert [(w.arrivals, w.prompt_tokens, w.output_tokens) for w in windows] == [
        (6, 1200, 120),
        (0, 0, 0),
        (3, 150, 15),
    ]
    (whole,) = merged(windows, 3)
    assert (whole.duration_s, whole.arrivals, whole.prompt_tokens) == (90, 9, 1350)


def test_what_an_overloaded_window_costs_is_a_number():
    """Also where theory has no steady state a little below the capacity, between paced and flat out."""
    arrivals = 3645
    window = WindowTraffic(30.0, arrivals, 602 * arrivals, 178.7 * arrivals, 12_086)
    chosen = configuration(max_num_seqs=512, tensor_parallel_size=1, pacing_interval_s=0.04)
    served = WindowModel(SLO).serve(window, chosen)
    assert served.backlog > 0
    assert 0 < served.energy_j < 30 * 2000
    assert served.slo_met == 0
