"""The model of windows knows of replicas what the emulated engine knows that works out each step."""

from __future__ import annotations

import pytest

from reconfigure_daemon.emulated_engine.knobs import SchedulerKnobs
from reconfigure_daemon.emulated_engine.model import model_for
from reconfigure_daemon.emulated_engine.replicas import EmulatedReplicas
from reconfigure_daemon.virtual_world.daemon_day import Orders, live
from reconfigure_daemon.virtual_world.forecasting import ForecastError, ImperfectForecaster
from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.decision import DecisionTerms
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective
from tests.simulation.plant import poisson

SLO = ServiceLevelObjective(ttft_s=1.0, tpot_s=0.05)
SPAN_S = 300.0


def configuration(replicas, **knobs):
    return Configuration({"max_num_seqs": 256, "max_num_batched_tokens": 8192, "data_parallel_size": replicas, **knobs})


def traffic(rate_rps, prompt=512, output=128, duration_s=SPAN_S):
    n = rate_rps * duration_s
    return WindowTraffic(duration_s, n, n * prompt, n * output, prompt)


def emulated(rate_rps, chosen, replicas):
    """Joules and the share inside the SLO, step by step, each request submitted when it arrives."""
    engine, done = EmulatedReplicas(model_for(chosen), SchedulerKnobs().changed(chosen), replicas=replicas), []
    for arrival in poisson(rate_rps, SPAN_S):
        done += engine.advance(arrival.at_s)
        engine.submit(arrival)
    done += engine.advance(SPAN_S)
    return engine.energy_j, sum(SLO.met_by(each.record) for each in done) / len(done)


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("interval_s", [0.0, 0.03])
@pytest.mark.parametrize("rate_rps", [4, 30, 80])
def test_joules_and_attainment_agree_with_every_step_worked_out(rate_rps, interval_s, gpus):
    """Within a tenth of the joules, and a fiftieth of the requests, as with one replica."""
    chosen = configuration(2, pacing_interval_s=interval_s, tensor_parallel_size=gpus)
    served = WindowModel(SLO).serve(traffic(rate_rps), chosen)
    energy_j, attained = emulated(rate_rps, chosen, 2)
    assert served.energy_j == pytest.approx(energy_j, rel=0.1)
    assert served.slo_met / (rate_rps * SPAN_S) == pytest.approx(attained, abs=0.02)


def test_each_replica_is_one_engine_with_its_share_of_the_arrivals():
    """Latencies, joules of a token and batch are those; power, capacity and idle power are as many times as much."""
    model, one, three = WindowModel(SLO), configuration(1), configuration(3)
    share, whole = model.steady(traffic(10).workload, one), model.steady(traffic(30).workload, three)
    assert whole.power_w == pytest.approx(3 * share.power_w)
    for name in ("tpot_s", "tpot_tail_s", "ttft_s", "ttft_tail_s", "energy_per_output_token_j", "batch", "busy"):
        assert getattr(whole, name) == pytest.approx(getattr(share, name))
    assert whole.energy_per_output_token_j == pytest.approx(whole.power_w / (30 * 128))
    capacities = [model.capacity_rps(traffic(10).workload, each) for each in (one, three)]
    assert capacities[1] == pytest.approx(3 * capacities[0], rel=0.01)
    empty = WindowTraffic(30.0, 0, 0, 0, 0)
    assert model.serve(empty, three).energy_j == 3 * model.serve(empty, one).energy_j
    assert model.boot_energy_j(three, 9.0) == 3 * model.boot_energy_j(one, 9.0)


def test_a_flood_is_worked_off_so_many_times_as_fast():
    """Three replicas past three times the capacity do what one does past its own."""
    model, one, three = WindowModel(SLO), configuration(1), configuration(3)
    capacity_rps = model.capacity_rps(traffic(10).workload, one)
    single = model.serve(traffic(2 * capacity_rps), one, 300)
    triple = model.serve(traffic(6 * capacity_rps), three, 900)
    assert single.backlog > 0
    for name in ("backlog", "finished", "energy_j"):
        assert getattr(triple, name) == pytest.approx(3 * getattr(single, name), rel=0.01)


def test_forecasts_tell_of_all_replicas():
    """Throughput adds up, latencies do not."""
    candidates = (configuration(1), configuration(2))
    exact = ForecastError(0.0, 0.0, 0.0, 0.0)
    forecaster = ImperfectForecaster(WindowModel(SLO), candidates, exact, 0)
    forecaster.saw(traffic(10))
    at = {rate: forecaster.forecasts(WorkloadContext(rate, 512, 128)) for rate in (10.0, 20.0)}
    single, double = at[10.0][0], at[20.0][1]
    assert double.throughput_tps.median == pytest.approx(2 * single.throughput_tps.median, rel=0.01)
    assert double.ttft_p99_s.median == pytest.approx(single.ttft_p99_s.median)
    energies_j = [each.energy_per_output_token_j.median for each in (double, single)]
    assert energies_j[0] == pytest.approx(energies_j[1])


def test_a_daemon_takes_more_replicas_for_a_busy_hour():
    """One while it is quiet; more where one alone is past its capacity, and none of it is free."""
    space = ConfigurationSpace(
        (
            Knob("data_parallel_size", Tier.COLD, (1, 2, 4), 2),
            Knob("max_num_seqs", Tier.HOT, (512,), 512),
        )
    )
    orders = Orders(space, SLO, Objective.ENERGY, DecisionTerms(), space.default())
    windows = [traffic(rate, 500, 60, 30.0) for rate in [10] * 120 + [250] * 120]
    day = live(windows, orders, WindowModel(SLO), 3)
    replicas = [each["data_parallel_size"] for each in day.configurations]
    assert (replicas[100], replicas[-1]) == (1, 4)
    assert day.attainment > 0.9
