from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.exposition.families import Families
from reconfigure_daemon.ports import Capabilities, HostPhase, HostState, LoopMetrics, SwitchMode, TelemetryBatch
from reconfigure_policies.decision.governor import GovernorView
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.domain.objective import IntentKind, Objective, OperatorIntent, ServiceLevelObjective
from reconfigure_policies.domain.workload import IterationTotals, Percentiles, RequestRecord, WorkloadWindow
from reconfigure_policies.step_cost import SteadyState

STATE = HostState(
    host_id="host-a",
    pid=1,
    started_at=50.0,
    engine="emulated",
    engine_version="0.32.0",
    model='a "quoted" \\ model\n',
    openai_url="http://127.0.0.1:8000",
    phase=HostPhase.SERVING,
    deployment=None,
    target={"max_num_seqs": 64, "dtype": "bfloat16", "prefix_cache_reading": True},
    enforced={"max_num_seqs": 32, "dtype": "float32", "prefix_cache_reading": True, "pacing_interval_s": 0.02},
    action=None,
    capabilities=Capabilities(
        hot_knobs=["max_num_seqs", "prefix_cache_reading", "pacing_interval_s"],
        exact_replay=True,
        switch_modes=["overlapped"],
    ),
    live_requests=7,
    core_restarts=1,
    lost_requests=0,
)
TOTALS = IterationTotals(9.0, 100, 5000, 400, 2000, 50, 40, 3, 6, 1, 0.25)
RECORDS = [
    RequestRecord(0.0, ttft_s, 2.0, 10, 0, 5, 0.1, reason)
    for ttft_s, reason in ((0.1, "stop"), (0.2, "length"), (0.7, "stop"), (0.1, "error"), (0.1, "abort"))
]
BATCH = TelemetryBatch(host_id="host-a", now_s=9.0, next_after=40, dropped=2, records=RECORDS, totals=TOTALS)
WINDOW = WorkloadWindow(
    5.0, 30.0, 60, 50, 45, 4000, 100, 900, 0, 3.5, 0.0, Percentiles(0.1, 0.2, 0.3), Percentiles(0.01),
    Percentiles(0.02), Percentiles(1.0), energy_j=1800.0, energy_source="estimated",
)  # fmt: skip
SLO = ServiceLevelObjective(attainment=0.95)
LIMITED = ServiceLevelObjective(ttft_s=0.5, attainment=0.9)
COLD = Decision(DecisionKind.REDEPLOY, "why", Configuration({"block_size": 32}), {}, {"block_size": 32})
HOT = Decision(DecisionKind.ADJUST, "why", Configuration({"max_num_seqs": 32}), {"max_num_seqs": 32})
AT_45_MS = SteadyState(0.046, 0.047, 0.03, 0.09, 300.0, 0.25, 30.0, 0.3, 0.2, 0.01)
GOVERNED = GovernorView(0.9, -0.1, AT_45_MS, replace(AT_45_MS, energy_per_output_token_j=0.5), 0.5, None)
DONE = Outcome(
    OutcomeKind.APPLIED, "done", None, 12.0,
    {"stall_p95_s": 0.05, "energy_j": 900.0, "replayed_tokens": 1510.0, "inexact_requests": 1.0},
)  # fmt: skip
FORECAST = Forecast(Configuration(), WorkloadContext(2.0, 80.0, 15.0), *[Estimate(1.5, 1.2, 1.9)] * 4)


def joules(energy_j: float, source: EnergySource = EnergySource.MEASURED, power_w: float | None = 90.0):
    return EnergyReading(1.0, (DeviceEnergy("gpu0", source, energy_j, power_w),))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


@pytest.fixture
def busy(metrics) -> Metrics:
    """A controller that has seen one of everything."""
    metrics.observe_controller(Objective.ENERGY, paused=True, store_degraded=False)
    metrics.observe_tick(0.004, 0.002, 1700000000.0)
    metrics.observe_adoption()
    metrics.observe_state(STATE)
    metrics.observe_telemetry(BATCH, LIMITED)
    metrics.observe_energy(joules(500.0))
    metrics.observe_governor(True, 12.0, GOVERNED)
    metrics.observe_window(WINDOW, SLO)
    metrics.observe_intent(OperatorIntent("1", IntentKind.PAUSE, 0.0, "cli"))
    metrics.observe_decision(COLD, 1700000001.0)
    metrics.observe_outcome(COLD, DONE, SwitchMode.OVERLAPPED)
    metrics.observe_shift(["arrival_rate_rps"])
    metrics.observe_forecast(FORECAST)
    metrics.observe_forecast_check("ttft_p99_s", Estimate(0.2, 0.1, 0.4), 0.3)
    metrics.observe_surrogate("throughput_tps", 40, 0.08, 0.93)
    metrics.observe_fit(1.5)
    metrics.observe_front(6, 12.5)
    return metrics


def families(metrics: Metrics):
    return list(text_string_to_metric_families(metrics.render().decode()))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The sample of exactly these labels, or None if it is not exposed."""
    found = [s.value for f in families(metrics) for s in f.samples if s.name == name and s.labels == labels]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_metric_has_a_prefix_a_meaning_and_at_least_one_sample(busy):
    """After one of everything was seen nothing is nameless, meaningless or never set."""
    for family in families(busy):
        assert family.name.startswith("reconfigure_"), family.name
        assert re.fullmatch(r"[A-Z0-9].*\.", family.documentation), family.name
        assert family.samples, f"{family.name} is declared but nothing observes it"


def test_names_follow_the_conventions_of_prometheus(busy):
    """Counters and only counters end in `_total`; units are base units; no name holds an abbreviated one."""
    for family in families(busy):
        exposed = {sample.name for sample in family.samples}
        assert all(name.endswith("_total") for name in exposed) == (family.type == "counter"), exposed
        assert not re.search(r"_(ms|s|j|w|mj|kwh|percent|bytes_total_total|created)(_|$)", family.name), family.name
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_ratio"))


def test_labels_come_from_small_closed_sets(busy):
    """However much happens, the number of series depends only on enumerations, knobs and devices."""
    before = sum(len(family.samples) for family in families(busy))
    for n in range(300):
        busy.observe_intent(OperatorIntent(f"intent-{n}", IntentKind.PAUSE, float(n), f"source-{n}"))
        busy.observe_decision(replace(COLD, reason=f"because of {n}"), float(n))
        busy.observe_outcome(COLD, replace(DONE, detail=f"error {n}", duration_s=float(n)), SwitchMode.OVERLAPPED)
        busy.observe_state(
            STATE.model_copy(
                update={"host_id": f"host-{n}", "model": f"model-{n}", "enforced": {**STATE.enforced, "dtype": f"t{n}"}}
            )
        )
        busy.observe_telemetry(BATCH.model_copy(update={"host_id": f"host-{n}"}), LIMITED)
        busy.observe_window(replace(WINDOW, started_s=float(n), energy_source=f"source-{n % 4}"), SLO)
        busy.observe_shift([f"quantity-{n}"])
        busy.observe_surrogate("throughput_tps", n)
        busy.observe_forecast_check("ttft_p99_s", Estimate(float(n), 0.0, 1.0), 0.5)
    assert sum(len(family.samples) for family in families(busy)) == before
    labels = {name for family in families(busy) for sample in family.samples for name in sample.labels}
    assert labels == {
        "bound", "configuration", "device", "engine", "kind", "knob", "latency", "le", "mode", "model", "objective",
        "outcome", "phase", "quantile", "quantity", "role", "source", "value", "verdict", "version", "within",
    }  # fmt: skip


def test_what_the_controller_saw_is_what_is_exposed(busy):
    """One of everything, read back from the text."""
    assert value(busy, "reconfigure_build_info", version="1.2.3") == 1
    assert value(busy, "reconfigure_objective", objective="energy") == 1
    assert value(busy, "reconfigure_objective", objective="balanced") == 0
    assert value(busy, "reconfigure_paused") == 1
    assert value(busy, "reconfigure_store_degraded") == 0
    assert value(busy, "reconfigure_control_tick_duration_seconds_count") == 1
    assert value(busy, "reconfigure_engine_host_adoptions_total") == 1
    assert value(busy, "reconfigure_engine_host_up") == 1
    assert value(busy, "reconfigure_engine_host_info", engine="emulated", version="0.32.0", model=STATE.model) == 1
    assert value(busy, "reconfigure_engine_phase", phase="serving") == 1
    assert value(busy, "reconfigure_engine_phase", phase="switching") == 0
    assert value(busy, "reconfigure_knob_enforced", knob="max_num_seqs") == 32
    assert value(busy, "reconfigure_knob_target", knob="max_num_seqs") == 64
    assert value(busy, "reconfigure_knob_enforced", knob="prefix_cache_reading") == 1
    assert value(busy, "reconfigure_knob_enforced_info", knob="dtype", value="float32") == 1
    assert value(busy, "reconfigure_knob_target_info", knob="dtype", value="bfloat16") == 1
    assert value(busy, "reconfigure_live_requests") == 7
    assert value(busy, "reconfigure_running_requests") == 6
    assert value(busy, "reconfigure_waiting_requests") == 1
    assert value(busy, "reconfigure_kv_cache_usage_ratio") == 0.25
    assert value(busy, "reconfigure_telemetry_dropped_total") == 2
    assert value(busy, "reconfigure_output_tokens_total") == 2000
    assert value(busy, "reconfigure_energy_joules_total", device="gpu0", source="measured") == 500
    assert value(busy, "reconfigure_power_watts", device="gpu0", source="measured") == 90
    assert value(busy, "reconfigure_window_energy_per_output_token_joules", source="estimated") == 2
    assert value(busy, "reconfigure_window_slo_attainment_ratio") == 0.9
    assert value(busy, "reconfigure_window_slo_headroom_ratio") == pytest.approx(-0.05)
    assert value(busy, "reconfigure_window_arrivals_per_second") == 2
    assert value(busy, "reconfigure_window_goodput_requests_per_second") == 1.5
    assert value(busy, "reconfigure_window_output_tokens_per_second") == 30
    assert value(busy, "reconfigure_window_ttft_seconds", quantile="0.99") == 0.3
    assert value(busy, "reconfigure_window_itl_seconds", quantile="0.5") == 0.01
    assert value(busy, "reconfigure_window_tpot_seconds", quantile="0.5") == 0.02
    assert value(busy, "reconfigure_window_tpot_seconds", quantile="0.99") is None
    assert value(busy, "reconfigure_window_e2e_latency_seconds", quantile="0.5") == 1
    assert value(busy, "reconfigure_intents_total", kind="pause") == 1
    assert value(busy, "reconfigure_intents_total", kind="apply") == 0
    assert value(busy, "reconfigure_decisions_total", kind="redeploy") == 1
    assert value(busy, "reconfigure_decision_outcomes_total", kind="redeploy", outcome="applied") == 1
    assert value(busy, "reconfigure_switch_duration_seconds_sum", mode="overlapped") == 12
    assert value(busy, "reconfigure_switch_stall_seconds_sum", mode="overlapped") == 0.05
    assert value(busy, "reconfigure_switch_energy_joules_total") == 900
    assert value(busy, "reconfigure_switch_replayed_tokens_total") == 1510
    assert value(busy, "reconfigure_switch_inexact_requests_total") == 1
    assert value(busy, "reconfigure_control_loop_lag_seconds_sum") == 0.002
    assert value(busy, "reconfigure_control_loop_last_tick_timestamp_seconds") == 1700000000
    assert value(busy, "reconfigure_last_decision_timestamp_seconds", kind="redeploy") == 1700000001
    assert value(busy, "reconfigure_engine_host_start_time_seconds", engine="emulated") == 50
    assert value(busy, "reconfigure_process_open_fds") > 0


def test_the_active_and_the_wanted_configuration_are_told_by_their_cold_part(busy):
    """Hot knobs move every second and are numbers; what only a new core can change is one label each."""
    assert value(busy, "reconfigure_configuration_info", role="enforced", configuration="dtype=float32") == 1
    assert value(busy, "reconfigure_configuration_info", role="target", configuration="dtype=bfloat16") == 1


def test_requests_are_judged_by_the_slo_in_force(busy):
    """Late and failed ones missed it; one that its client gave up says nothing of the service."""
    assert value(busy, "reconfigure_slo_requests_total", verdict="met") == 2
    assert value(busy, "reconfigure_slo_requests_total", verdict="missed") == 2
    assert value(busy, "reconfigure_slo_required_attainment_ratio") == 0.9
    assert value(busy, "reconfigure_slo_limit_seconds", latency="ttft") == 0.5
    assert value(busy, "reconfigure_slo_limit_seconds", latency="tpot") is None


def test_where_joules_come_from_is_told_for_each_device(busy):
    """A device whose counter is lost is marked unknown from then on, and its joules stand still."""
    assert value(busy, "reconfigure_energy_source", device="gpu0", source="measured") == 1
    busy.observe_energy(joules(500.0, EnergySource.UNKNOWN, power_w=None))
    assert value(busy, "reconfigure_energy_source", device="gpu0", source="measured") == 0
    assert value(busy, "reconfigure_energy_source", device="gpu0", source="unknown") == 1
    assert value(busy, "reconfigure_energy_joules_total", device="gpu0", source="measured") == 500


def test_what_was_learned_is_shown_and_nothing_that_was_not(busy):
    """Forecast, front, shift and the surrogates' quality; what is not expected any more is absent."""
    assert value(busy, "reconfigure_workload_shifts_total", quantity="arrival_rate_rps") == 1
    assert value(busy, "reconfigure_workload_shifts_total", quantity="output_tokens") == 0
    assert value(busy, "reconfigure_forecast_energy_per_output_token_joules", bound="high") == 1.9
    assert value(busy, "reconfigure_forecast_tpot_p99_seconds", bound="low") == 1.2
    assert value(busy, "reconfigure_forecast_error_ratio_sum", quantity="ttft_p99_s") == pytest.approx(0.5)
    assert value(busy, "reconfigure_forecasts_checked_total", quantity="ttft_p99_s", within="true") == 1
    assert value(busy, "reconfigure_surrogate_observations", quantity="throughput_tps") == 40
    assert value(busy, "reconfigure_surrogate_error_ratio", quantity="throughput_tps") == 0.08
    assert value(busy, "reconfigure_surrogate_coverage_ratio", quantity="throughput_tps") == 0.93
    assert value(busy, "reconfigure_surrogate_fit_duration_seconds_sum") == 1.5
    assert value(busy, "reconfigure_pareto_front_configurations") == 6
    assert value(busy, "reconfigure_pareto_hypervolume") == 12.5
    busy.observe_forecast(replace(FORECAST, ttft_p99_s=None))
    assert value(busy, "reconfigure_forecast_ttft_p99_seconds", bound="high") is None
    busy.observe_forecast(None)
    assert value(busy, "reconfigure_forecast_energy_per_output_token_joules", bound="high") is None


def test_every_family_is_described_as_it_is_exposed(busy):
    """The reference is written from descriptions: they name exactly what is exposed, with its kind and labels."""
    described = {description.name: description for description in Families().descriptions}
    for family in families(busy):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        description = described.pop(name)
        assert (description.kind, description.meaning) == (family.type, family.documentation)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(description.labels), sample
            assert sample.name in description.series
    assert described == {}


def test_only_applied_cold_switches_count_as_switches(metrics):
    """A hot change, and a switch that was undone, say nothing about how long a switch takes."""
    metrics.observe_outcome(HOT, DONE)
    metrics.observe_outcome(COLD, replace(DONE, kind=OutcomeKind.ROLLED_BACK), SwitchMode.OVERLAPPED)
    metrics.observe_outcome(COLD, replace(DONE, measurements={}), SwitchMode.SEQUENTIAL)
    assert value(metrics, "reconfigure_switch_duration_seconds_count", mode="overlapped") == 0
    assert value(metrics, "reconfigure_switch_duration_seconds_count", mode="sequential") == 1
    assert value(metrics, "reconfigure_switch_stall_seconds_count", mode="sequential") == 0


def test_before_anything_was_seen_nothing_is_claimed(metrics):
    """What is not known is absent or not a number; what is counted begins at zero, so that the first event is seen."""
    assert value(metrics, "reconfigure_engine_host_start_time_seconds", engine="emulated") is None
    assert math.isnan(value(metrics, "reconfigure_window_slo_attainment_ratio"))
    assert math.isnan(value(metrics, "reconfigure_pareto_hypervolume"))
    assert value(metrics, "reconfigure_decision_outcomes_total", kind="redeploy", outcome="failed") == 0
    assert value(metrics, "reconfigure_switch_stall_seconds_count", mode="overlapped") == 0
    assert value(metrics, "reconfigure_forecasts_checked_total", quantity="ttft_p99_s", within="false") == 0


def test_a_meter_that_starts_again_takes_no_joule_back(metrics):
    """A reading below the last one adds to the counter, also under another source from then on."""
    for energy_j in (100.0, 250.0, 30.0):
        metrics.observe_energy(joules(energy_j))
    metrics.observe_energy(joules(50.0, EnergySource.ESTIMATED, power_w=None))
    assert value(metrics, "reconfigure_energy_joules_total", device="gpu0", source="measured") == 280
    assert value(metrics, "reconfigure_energy_joules_total", device="gpu0", source="estimated") == 20
    assert value(metrics, "reconfigure_power_watts", device="gpu0", source="measured") is None


def test_a_fresh_host_adds_to_what_the_one_before_counted(metrics):
    """Restarts, losses and tokens of every host in turn add up, also when the next host counts higher at once."""
    for host_id, restarts, tokens in (("a", 1, 100), ("a", 2, 150), ("b", 0, 400), ("b", 1, 500)):
        metrics.observe_state(STATE.model_copy(update={"host_id": host_id, "core_restarts": restarts}))
        metrics.observe_telemetry(
            BATCH.model_copy(update={"host_id": host_id, "totals": replace(TOTALS, output_tokens=tokens)}), SLO
        )
    assert value(metrics, "reconfigure_core_restarts_total") == 3
    assert value(metrics, "reconfigure_output_tokens_total") == 650
    assert value(metrics, "reconfigure_telemetry_dropped_total") == 8


def test_a_host_that_does_not_answer_is_down_and_its_counters_stay(busy):
    """Losing sight of the host changes one gauge, and the same host seen again adds nothing twice."""
    busy.observe_state(None)
    assert value(busy, "reconfigure_engine_host_up") == 0
    assert value(busy, "reconfigure_core_restarts_total") == 1
    busy.observe_state(STATE)
    assert value(busy, "reconfigure_core_restarts_total") == 1


def test_what_a_window_did_not_measure_is_absent_and_not_zero(busy):
    """An idle window with no energy has no joules per token, no quantile, and an attainment that is not a number."""
    busy.observe_window(WorkloadWindow(35.0, 30.0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0), SLO)
    exposed = {sample.name for family in families(busy) for sample in family.samples}
    assert "reconfigure_window_energy_per_output_token_joules" not in exposed
    assert "reconfigure_window_ttft_seconds" not in exposed
    assert math.isnan(value(busy, "reconfigure_window_slo_attainment_ratio"))
    assert value(busy, "reconfigure_window_arrivals_per_second") == 0


def test_the_governor_is_shown_while_it_acts_and_unknown_otherwise(busy):
    """Headroom of both latencies, negative where a limit is broken; once it stands by nothing old is left standing."""
    assert value(busy, "reconfigure_governor_active") == 1
    assert value(busy, "reconfigure_governor_model_samples") == 12
    assert value(busy, "reconfigure_governor_slo_headroom_ratio", latency="tpot") == -0.1
    assert value(busy, "reconfigure_governor_stock_energy_per_output_token_joules") == 0.5
    busy.observe_governor(False, 0.0, None)
    assert value(busy, "reconfigure_governor_active") == 0
    assert math.isnan(value(busy, "reconfigure_governor_slo_headroom_ratio", latency="tpot"))
    assert math.isnan(value(busy, "reconfigure_governor_expected_energy_per_output_token_joules"))


def test_two_controllers_in_one_process_do_not_mix(metrics, busy):
    """Each has a registry of its own."""
    other = Metrics("1.2.3")
    assert value(other, "reconfigure_output_tokens_total") == 0
    assert value(busy, "reconfigure_output_tokens_total") == 2000


def test_the_control_loop_finds_every_method_it_calls():
    """The port's methods exist here under the same names."""
    assert {name for name in dir(LoopMetrics) if name.startswith("observe_")} <= set(dir(Metrics))
