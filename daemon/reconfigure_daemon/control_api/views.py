"""What the control loop knows, as the messages of the control API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict

from reconfigure_daemon import __version__
from reconfigure_daemon.control_api.messages import (
    CalendarView,
    DecisionView,
    EnergyView,
    GovernorStatus,
    IntentResult,
    KnobChange,
    OutcomeView,
    PlanView,
    SloView,
    SpanView,
    StatusView,
    WindowView,
)
from reconfigure_daemon.control_loop import CalendarWatch, ControlLoop, GovernorReport, Handled
from reconfigure_daemon.ports import SwitchMode
from reconfigure_daemon.schedules import Calendar
from reconfigure_policies.decision import Plan
from reconfigure_policies.domain.configuration import KnobValue, Tier
from reconfigure_policies.domain.decision import Outcome
from reconfigure_policies.domain.energy import EnergyReading
from reconfigure_policies.domain.history import DecisionRecord, WindowRecord
from reconfigure_policies.domain.schedule import ScheduledSpan


def status_view(loop: ControlLoop, notices: list[str], uptime_s: float) -> StatusView:
    """Everything at a glance."""
    standing, state, window = loop.orders.state, loop.sampler.state, loop.sampler.window
    return StatusView(
        version=__version__,
        pid=os.getpid(),
        uptime_s=uptime_s,
        paused=standing.paused,
        objective=standing.objective,
        objective_until=standing.objective_until,
        next_change=span_view(loop.calendar.calendar, loop.calendar.next()),
        engine=state,
        engine_error=loop.keeper.error,
        target=_target(loop),
        enforced=None if state is None else state.enforced,
        action=loop.action,
        window=window,
        slo=SloView(**asdict(loop.sampler.slo)),
        slo_attainment=None if window is None else window.slo_attainment,
        energy=energy_view(loop.sampler.energy),
        governor=governor_status(loop.governing.report(), loop.sampler.energy),
        last_decision=decision_view(loop.decisions.latest) if loop.decisions.latest else None,
        notices=notices,
    )


def calendar_view(watch: CalendarWatch, now: float, for_s: float) -> CalendarView:
    """What holds by the calendar, and what begins within a time from now."""
    calendar = watch.calendar
    coming = [span_view(calendar, span) for span in watch.coming(for_s)]
    in_force = span_view(calendar, watch.in_force())
    return CalendarView(now=now, in_force=in_force, coming=[span for span in coming if span is not None])


def span_view(calendar: Calendar, span: ScheduledSpan | None) -> SpanView | None:
    """A span with the time zone of its schedule."""
    return None if span is None else SpanView(**asdict(span), timezone=calendar.zone(span.schedule))


def governor_status(report: GovernorReport, energy: EnergyReading | None) -> GovernorStatus:
    """What the governor does and gets."""
    source = energy_view(energy).source
    seen = report.seen
    if seen is None:
        return GovernorStatus(
            enabled=report.enabled, active=False, standing_by=report.standing_by, energy_source=source
        )
    return GovernorStatus(
        enabled=report.enabled,
        active=True,
        standing_by=None,
        ttft_headroom=seen.ttft_headroom,
        tpot_headroom=seen.tpot_headroom,
        energy_per_output_token_j=report.energy_per_output_token_j,
        energy_source=source,
        expected_energy_per_output_token_j=None if seen.expected is None else seen.expected.energy_per_output_token_j,
        stock_energy_per_output_token_j=None if seen.stock is None else seen.stock.energy_per_output_token_j,
        saved=seen.saved,
        unmet=seen.unmet,
    )


def result_view(handled: Handled) -> IntentResult:
    """What became of an intent."""
    planned = None if handled.plan is None else plan_view(handled.plan)
    return IntentResult(intent_id=handled.intent.id, plan=planned, decision=decision_view(handled.record))


def plan_view(plan: Plan) -> PlanView:
    """What a change would do and cost."""
    return PlanView(
        changes=_changes(plan.move.origin, plan.move.hot, plan.move.cold),
        mode=None if plan.mode is None else SwitchMode(plan.mode),
        expected_duration_s=plan.duration_s,
        expected_stall_s=plan.stall_s,
        expected_energy_j=plan.energy_j,
        live_requests=plan.live_requests,
        basis=plan.basis,
        sentences=plan.sentences,
    )


def decision_view(record: DecisionRecord) -> DecisionView:
    """One decision and, once it has ended, its outcome."""
    decision = record.decision
    return DecisionView(
        id=record.id,
        at=record.at,
        kind=decision.kind,
        reason=decision.reason,
        source=decision.intent.source if decision.intent else "daemon",
        target=dict(decision.target),
        changes=_changes(record.enforced_before or {}, decision.hot, decision.cold),
        outcome=None if record.outcome is None else _outcome(record.outcome, record.outcome_at or record.at),
    )


def window_view(record: WindowRecord) -> WindowView:
    """One window of the past."""
    window = record.window
    return WindowView(
        id=record.id,
        at=record.at,
        duration_s=window.duration_s,
        configuration=dict(record.configuration),
        arrival_rate_rps=window.arrival_rate_rps,
        goodput_rps=window.goodput_rps,
        output_throughput_tps=window.output_throughput_tps,
        mean_running=window.mean_running,
        mean_waiting=window.mean_waiting,
        slo_attainment=window.slo_attainment,
        ttft_s=window.ttft_s,
        tpot_s=window.tpot_s,
        e2e_latency_s=window.e2e_latency_s,
        mean_power_w=window.mean_power_w,
        energy_per_output_token_j=window.energy_per_output_token_j,
        energy_source=window.energy_source,
    )


def energy_view(reading: EnergyReading | None) -> EnergyView:
    """Joules since the controller started, under their weakest source."""
    if reading is None or not reading.devices:
        return EnergyView(source="unknown", energy_j=None, power_w=None, devices=[])
    powers = [device.power_w for device in reading.devices]
    power_w = None if None in powers else sum(power for power in powers if power is not None)
    devices = [asdict(device) for device in reading.devices]
    return EnergyView(source=reading.source.value, energy_j=reading.energy_j, power_w=power_w, devices=devices)


def _outcome(outcome: Outcome, at: float) -> OutcomeView:
    return OutcomeView(
        kind=outcome.kind,
        detail=outcome.detail,
        enforced=None if outcome.enforced is None else dict(outcome.enforced),
        duration_s=outcome.duration_s,
        measurements=dict(outcome.measurements),
        at=at,
    )


def _changes(
    before: Mapping[str, KnobValue], hot: Mapping[str, KnobValue], cold: Mapping[str, KnobValue]
) -> list[KnobChange]:
    return [
        KnobChange(name=name, tier=tier.value, before=before.get(name), after=value)
        for tier, changes in ((Tier.COLD, cold), (Tier.HOT, hot))
        for name, value in changes.items()
    ]


def _target(loop: ControlLoop) -> dict[str, KnobValue]:
    """What was asked for, in which the governor's knobs are as it has set them."""
    state, governed = loop.sampler.state, loop.orders.state.governed
    moved = {} if state is None else {name: value for name, value in state.target.items() if name in governed}
    return {**loop.target, **moved}
