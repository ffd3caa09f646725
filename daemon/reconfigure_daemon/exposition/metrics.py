"""What the controller sees and does, for Prometheus."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from enum import StrEnum

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from reconfigure_daemon.exposition.cumulative import CumulativeReadings
from reconfigure_daemon.exposition.families import Families
from reconfigure_daemon.exposition.learning import LearningObserver
from reconfigure_daemon.ports import HostPhase, HostState, SwitchMode, TelemetryBatch
from reconfigure_policies.decision.governor import GovernorView
from reconfigure_policies.domain.configuration import Configuration, KnobValue, format_value
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.energy import EnergyReading, EnergySource
from reconfigure_policies.domain.objective import IntentKind, Objective, OperatorIntent, ServiceLevelObjective
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow

_LATENCIES = {"ttft": "ttft_s", "tpot": "tpot_s", "e2e": "e2e_latency_s"}


class Metrics(LearningObserver):
    """Takes what the control loop sees and renders it as text; use it from one thread.

    Counters follow cumulative readings of the engine host and the meter, and never go down when one starts again.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, version: str) -> None:
        super().__init__(Families())
        self._host_readings = CumulativeReadings()
        self._telemetry_readings = CumulativeReadings()
        self._meter_readings = CumulativeReadings()
        self._families.build.labels(version).set(1)
        self._begin_at_zero()

    def render(self) -> bytes:
        """The text exposition format, to be sent as `content_type`."""
        return generate_latest(self._families)

    def observe_controller(self, objective: Objective, paused: bool, store_degraded: bool) -> None:
        """What holds for the controller now."""
        _one_of(self._families.objective, Objective, objective)
        self._families.paused.set(paused)
        self._families.store_degraded.set(store_degraded)

    def observe_tick(self, duration_s: float, lag_s: float, at: float) -> None:
        """One tick of the control loop was done; it began `lag_s` late and ended at wall-clock time `at`."""
        self._families.tick.observe(duration_s)
        self._families.lag.observe(lag_s)
        self._families.last_tick.set(at)

    def observe_adoption(self) -> None:
        """A running engine host was taken over."""
        self._families.adoptions.inc()

    def observe_state(self, state: HostState | None) -> None:
        """The engine host's state, or None while it does not answer; its last gauges then stay as they were."""
        self._families.host_up.set(state is not None)
        if state is None:
            return
        families = self._families
        families.host.clear()
        families.host.labels(state.engine, state.engine_version, state.model).set(1)
        families.host_started.clear()
        families.host_started.labels(state.engine).set(state.started_at)
        _one_of(families.phase, HostPhase, state.phase)
        families.configuration.clear()
        for role, values in (("enforced", state.enforced), ("target", state.target)):
            families.configuration.labels(role, _cold_part(values, state.capabilities.hot_knobs)).set(1)
        _set_knobs(families.knob_enforced, families.knob_enforced_text, state.enforced)
        _set_knobs(families.knob_target, families.knob_target_text, state.target)
        families.live.set(state.live_requests)
        self._host_readings.from_source(state.host_id)
        families.core_restarts.inc(self._host_readings.increase("core_restarts", state.core_restarts))
        families.lost_requests.inc(self._host_readings.increase("lost_requests", state.lost_requests))

    def observe_telemetry(self, batch: TelemetryBatch, slo: ServiceLevelObjective) -> None:
        """The engine's totals, finished requests against the SLO in force, and records that came too late."""
        self._judge(batch, slo)
        families, totals = self._families, batch.totals
        families.dropped.inc(batch.dropped)
        families.running.set(totals.running)
        families.waiting.set(totals.waiting)
        families.kv_cache.set(totals.kv_cache_usage)
        self._telemetry_readings.from_source(batch.host_id)
        for counter, quantity in (
            (families.arrived, "arrived"),
            (families.finished, "finished"),
            (families.preemptions, "preemptions"),
            (families.prompt_tokens, "prompt_tokens"),
            (families.cached_prompt_tokens, "cached_prompt_tokens"),
            (families.output_tokens, "output_tokens"),
        ):
            counter.inc(self._telemetry_readings.increase(quantity, getattr(totals, quantity)))

    def observe_energy(self, reading: EnergyReading) -> None:
        """Joules of every device; what a device gave under another source stays counted there."""
        self._families.power.clear()
        self._families.energy_source.clear()
        for device in reading.devices:
            increase_j = self._meter_readings.increase(device.device, device.energy_j)
            self._families.energy.labels(device.device, device.source).inc(increase_j)
            for source in EnergySource:
                self._families.energy_source.labels(device.device, source).set(source == device.source)
            if device.power_w is not None:
                self._families.power.labels(device.device, device.source).set(device.power_w)

    def observe_governor(self, active: bool, energy_stretches: float, seen: GovernorView | None) -> None:
        """The governor; what it does not know, or does not know any more, is NaN."""
        families = self._families
        families.governor_active.set(active)
        families.governor_stretches.set(energy_stretches)
        expected, stock = (None, None) if seen is None else (seen.expected, seen.stock)
        for family, value in (
            (families.governor_headroom.labels("ttft"), None if seen is None else seen.ttft_headroom),
            (families.governor_headroom.labels("tpot"), None if seen is None else seen.tpot_headroom),
            (families.governor_expected, None if expected is None else expected.energy_per_output_token_j),
            (families.governor_stock, None if stock is None else stock.energy_per_output_token_j),
        ):
            family.set(math.nan if value is None else value)

    def observe_window(self, window: WorkloadWindow, slo: ServiceLevelObjective) -> None:
        """The last complete workload window, and how it did against the SLO in force."""
        families = self._families
        attainment = math.nan if window.slo_attainment is None else window.slo_attainment
        families.window_attainment.set(attainment)
        families.window_headroom.set(attainment - slo.attainment)
        families.window_arrivals.set(window.arrival_rate_rps)
        families.window_goodput.set(window.goodput_rps)
        families.window_throughput.set(window.output_throughput_tps)
        families.window_energy_per_token.clear()
        if window.energy_per_output_token_j is not None:
            families.window_energy_per_token.labels(window.energy_source).set(window.energy_per_output_token_j)
        for name, family in families.window_latency.items():
            _set_quantiles(family, getattr(window, name))

    def observe_intent(self, intent: OperatorIntent) -> None:
        """An intent was accepted."""
        self._families.intents.labels(intent.kind).inc()

    def observe_decision(self, decision: Decision, at: float) -> None:
        """A decision was made at wall-clock time `at`."""
        self._families.decisions.labels(decision.kind).inc()
        self._families.last_decision.labels(decision.kind).set(at)

    def observe_outcome(self, decision: Decision, outcome: Outcome, mode: SwitchMode | None = None) -> None:
        """A decision ended; of a cold switch that was applied, done in `mode`, duration and stall count."""
        families, measured = self._families, outcome.measurements
        families.outcomes.labels(decision.kind, outcome.kind).inc()
        if not decision.cold:
            return
        families.switch_energy.inc(max(0.0, measured.get("energy_j", 0.0)))
        families.replayed_tokens.inc(measured.get("replayed_tokens", 0.0))
        families.inexact_requests.inc(measured.get("inexact_requests", 0.0))
        if outcome.kind is OutcomeKind.APPLIED:
            done_in = mode or "unknown"
            families.switch_duration.labels(done_in).observe(outcome.duration_s)
            if "stall_p95_s" in measured:
                families.switch_stall.labels(done_in).observe(measured["stall_p95_s"])

    def _judge(self, batch: TelemetryBatch, slo: ServiceLevelObjective) -> None:
        families = self._families
        families.slo_required.set(slo.attainment)
        families.slo_limit.clear()
        for latency, field in _LATENCIES.items():
            if (limit_s := getattr(slo, field)) is not None:
                families.slo_limit.labels(latency).set(limit_s)
        for record in batch.records:
            if not slo.left_open_by(record):
                families.slo_requests.labels("met" if slo.met_by(record) else "missed").inc()

    def _begin_at_zero(self) -> None:
        """A series that exists before its first event lets `rate()` see that event; what is not known is NaN."""
        families = self._families
        for unknown in (families.window_attainment, families.window_headroom, families.hypervolume):
            unknown.set(math.nan)
        for mode in (SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL, SwitchMode.DRAIN):
            families.switch_duration.labels(mode)
            families.switch_stall.labels(mode)
        for verdict in ("met", "missed"):
            families.slo_requests.labels(verdict)
        for intent in IntentKind:
            families.intents.labels(intent)
        for kind in DecisionKind:
            families.decisions.labels(kind)
            for outcome in OutcomeKind:
                families.outcomes.labels(kind, outcome)


def _cold_part(values: Mapping[str, KnobValue], hot_knobs: Collection[str]) -> str:
    """A label that changes only with the core: as many values as cold configurations, one of them at a time."""
    return str(Configuration({name: value for name, value in values.items() if name not in hot_knobs}))


def _one_of(family: Gauge, states: type[StrEnum], present: StrEnum) -> None:
    for state in states:
        family.labels(state).set(state == present)


def _set_knobs(numbers: Gauge, texts: Gauge, values: Mapping[str, KnobValue]) -> None:
    numbers.clear()
    texts.clear()
    for knob, value in values.items():
        if isinstance(value, str):
            texts.labels(knob, format_value(value)).set(1)
        else:
            numbers.labels(knob).set(value)


def _set_quantiles(family: Gauge, percentiles: Percentiles) -> None:
    family.clear()
    for quantile, value_s in (("0.5", percentiles.p50), ("0.9", percentiles.p90), ("0.99", percentiles.p99)):
        if value_s is not None:
            family.labels(quantile).set(value_s)
