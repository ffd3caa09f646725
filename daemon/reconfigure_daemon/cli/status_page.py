"""`reconfigure status` for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reconfigure_daemon.cli.calendar_page import next_change
from reconfigure_daemon.cli.output import clock_time
from reconfigure_daemon.cli.wording import decision_headline
from reconfigure_daemon.control_api.messages import EnergyView, GovernorStatus, StatusView
from reconfigure_daemon.durations import format_duration
from reconfigure_daemon.ports import HostPhase, HostState
from reconfigure_policies.domain.configuration import format_value
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow


def status_page(status: StatusView, now: float) -> RenderableType:
    """Everything at a glance; `now` is the wall clock, for ages."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, line in _lines(status, now):
        table.add_row(name, Text(line))
    return Group(table, Text(), _knobs(status)) if status.target else table


def _lines(status: StatusView, now: float) -> Iterator[tuple[str, str]]:
    changes = "paused: only what operators ask for" if status.paused else "on"
    yield "daemon", f"{status.version}, pid {status.pid}, up {format_duration(status.uptime_s)}"
    yield "automatic changes", changes
    until = status.objective_until
    yield (
        "objective",
        status.objective + (f" until {clock_time(until)} (in {format_duration(until - now)})" if until else ""),
    )
    if status.next_change is not None:
        yield "next change", next_change(status.next_change, now)
    yield from _engine(status, now)
    if status.action is not None:
        action = status.action
        detail = f", {action.detail}" if action.detail else ""
        phase = "" if action.phase == action.kind else f": {action.phase}"
        yield "now", f"{action.kind}{phase} for {format_duration(now - action.since)}{detail}"
    if status.window is not None:
        yield from _window(status.window, status.slo_attainment)
    yield "energy", _energy(status.energy)
    if status.governor is not None:
        yield from _governor(status.governor)
    if status.last_decision is not None:
        yield "last decision", decision_headline(status.last_decision)
        yield "", status.last_decision.reason
    for notice in status.notices:
        yield "notice", notice


def _engine(status: StatusView, now: float) -> Iterator[tuple[str, str]]:
    engine = status.engine
    if engine is None:
        yield "engine", f"not reachable: {status.engine_error or 'no engine host has answered yet'}"
        return
    emulated = ", an emulation: its figures are no measurements" if engine.engine == "emulated" else ""
    yield "engine", f"{engine.engine} {engine.engine_version}, {engine.phase}, pid {engine.pid}{emulated}"
    yield "model", f"{engine.model} at {engine.openai_url}"
    if engine.deployment is not None:
        age = format_duration(now - engine.deployment.booted_at)
        yield "core", f"number {engine.deployment.id}, {age} old, booted in {format_duration(engine.deployment.boot_s)}"
    yield "requests", _requests(engine)
    error = None if engine.phase is HostPhase.BOOTING else status.engine_error  # it only says that there is none yet
    for name, text in (("engine error", error), ("last error", engine.last_error)):
        if text:
            yield name, text
    if engine.capabilities.reason:
        yield "limits", engine.capabilities.reason


def _requests(engine: HostState) -> str:
    restarts = f", {engine.core_restarts} core restarts" if engine.core_restarts else ""
    return f"{engine.live_requests} live, {engine.lost_requests} lost since start{restarts}"


def _window(window: WorkloadWindow, attainment: float | None) -> Iterator[tuple[str, str]]:
    good = "" if attainment is None else f", {attainment:.1%} within the SLO"
    yield (
        f"last {format_duration(window.duration_s)}",
        f"{window.arrival_rate_rps:.3g} requests/s in, {window.finished} finished{good},"
        f" {window.output_throughput_tps:.3g} tokens/s out",
    )
    latencies = {"TTFT": window.ttft_s, "ITL": window.itl_s, "TPOT": window.tpot_s, "end to end": window.e2e_latency_s}
    shown = [f"{name} {_percentiles(p)}" for name, p in latencies.items() if p.p50 is not None]
    if shown:
        yield "latency p50/p90/p99", ", ".join(shown)
    if window.energy_per_output_token_j is not None:
        joules = f"{window.energy_per_output_token_j:.3g} J per output token, prefill and idle time included"
        yield "", f"{joules} ({window.energy_source})"


def _governor(governor: GovernorStatus) -> Iterator[tuple[str, str]]:
    if not governor.enabled:
        yield "governor", "off"
        return
    if governor.standing_by is not None:
        yield "governor", f"stands by: {governor.standing_by}"
        return
    shares = {"TTFT": governor.ttft_headroom, "TPOT": governor.tpot_headroom}
    left = [f"{name} {share:.0%}" for name, share in shares.items() if share is not None]
    yield "governor", "active" + (f"; left of the SLO's limits: {', '.join(left)}" if left else "")
    if governor.unmet is not None:
        yield "", f"no setting holds the SLO: {governor.unmet}"
    joules = list(_governed_energy(governor))
    if joules:
        yield "", f"J per output token: {', '.join(joules)}"


def _governed_energy(governor: GovernorStatus) -> Iterator[str]:
    if governor.energy_per_output_token_j is not None:
        yield f"{governor.energy_per_output_token_j:.3g} now ({governor.energy_source})"
    if governor.expected_energy_per_output_token_j is not None:
        yield f"{governor.expected_energy_per_output_token_j:.3g} expected"
    if governor.stock_energy_per_output_token_j is not None:
        yield f"{governor.stock_energy_per_output_token_j:.3g} with stock settings by the model"
    if governor.saved is not None:
        yield f"{governor.saved:.0%} saved"


def _percentiles(values: Percentiles) -> str:
    return "/".join("-" if v is None else format_duration(v) for v in (values.p50, values.p90, values.p99))


def _energy(energy: EnergyView) -> str:
    if energy.energy_j is None:
        return "unknown"
    power = "" if energy.power_w is None else f", now {energy.power_w:.4g} W"
    return f"{energy.energy_j:.6g} J since the daemon started{power} ({energy.source})"


def _knobs(status: StatusView) -> Table:
    """What was asked for beside what the engine enforces; a difference is marked."""
    table = Table("knob", "target", "enforced", "", box=None, pad_edge=False, header_style="bold")
    enforced = status.enforced or {}
    for name, target in status.target.items():
        actual = format_value(enforced[name]) if name in enforced else "unknown"
        differs = actual not in ("unknown", format_value(target))
        table.add_row(name, format_value(target), actual, "differs" if differs else "")
    return table
