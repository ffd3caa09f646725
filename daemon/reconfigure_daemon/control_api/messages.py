"""The JSON of the control API, both ways; the CLI and the page read the same models.

    GET  /healthz  /readyz  /metrics  /  /v1/openapi.json
    GET  /v1/status                        -> StatusView
    POST /v1/intents      IntentRequest    -> IntentResult; with `Accept: application/x-ndjson` a line of
                                              {"event": "progress", ...} per step first, the result last
    GET  /v1/decisions?limit=20&before=ID  -> DecisionList, newest first
    GET  /v1/windows?limit=240&after=ID    -> WindowList, oldest first
    GET  /v1/schedule?days=7               -> CalendarView
    see `learning_messages` for what was learned, `tuning_messages` for what is measured on purpose

Faults: `{"error": {"kind": ..., "message": ..., ...facts}}` with 400, 401, 403, 404, 405, 409, 413,
500, 502, 503 or 504.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconfigure_daemon.ports import ActionState, HostState, SwitchMode
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from reconfigure_policies.domain.objective import IntentKind, Objective
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow


class View(BaseModel):
    """A frozen message; unknown fields are refused so that a misspelt one is not silently dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IntentRequest(View):
    """What an operator asks. `dry_run` only answers with the plan."""

    kind: IntentKind
    objective: Objective | None = None
    changes: dict[str, KnobValue] = Field(default_factory=dict)
    expires_in_s: float | None = Field(default=None, gt=0)
    dry_run: bool = False
    source: Literal["cli", "api", "page"] = "api"


class KnobChange(View):
    """One knob's move."""

    name: str
    tier: Literal["hot", "cold"]
    before: KnobValue | None
    after: KnobValue


class PlanView(View):
    """What a change would do and cost.

    Attributes:
        mode: how the cold part would be done, or None if everything is hot.
        expected_duration_s, expected_stall_s, expected_energy_j: medians of past switches, None without any.
        live_requests: streams that would be moved now.
        basis: where the expectation comes from, e.g. "median of 3 switches" or "no switch measured yet".
        sentences: what would change, for people.
    """

    changes: list[KnobChange]
    mode: SwitchMode | None
    expected_duration_s: float | None
    expected_stall_s: float | None
    expected_energy_j: float | None
    live_requests: int
    basis: str
    sentences: list[str]


class OutcomeView(View):
    """How a decision ended."""

    kind: OutcomeKind
    detail: str
    enforced: dict[str, KnobValue] | None
    duration_s: float
    measurements: dict[str, float]
    at: float


class DecisionView(View):
    """One decision, its reason, and its outcome once there is one. `at` is wall-clock seconds."""

    id: int
    at: float
    kind: DecisionKind
    reason: str
    source: str  # the intent's source, or "daemon"
    target: dict[str, KnobValue]
    changes: list[KnobChange]
    outcome: OutcomeView | None = None


class DecisionList(View):
    """Decisions, newest first."""

    decisions: list[DecisionView]


class IntentResult(View):
    """What became of an intent; `decision` is None for a dry run."""

    intent_id: str | None
    plan: PlanView | None
    decision: DecisionView | None


class EnergyView(View):
    """Joules since the controller started, and watts now. `source` is the weakest of the devices'."""

    source: Literal["measured", "integrated", "estimated", "unknown"]
    energy_j: float | None
    power_w: float | None
    devices: list[dict[str, Any]]


class GovernorStatus(View):
    """What the governor does and gets.

    Attributes:
        enabled: whether the settings want it.
        active: whether it moves hot knobs now.
        standing_by: why it does not, in words; None while it is active.
        ttft_headroom, tpot_headroom: share of the limit that the requests of the last minute left free at the demanded
            attainment, negative where they broke it; None without a limit or without requests.
        energy_per_output_token_j: what a token costs now, prefill and idle time included, by the meter.
        energy_source: where joules come from; see `EnergyView.source`.
        expected_energy_per_output_token_j, stock_energy_per_output_token_j: what it costs at the present load as set
            now and with stock settings, by the model; None before that is learned.
        saved: share of stock's energy that is saved, by the model.
        unmet: why no setting holds the service level; None while one does.
    """

    enabled: bool
    active: bool
    standing_by: str | None
    ttft_headroom: float | None = None
    tpot_headroom: float | None = None
    energy_per_output_token_j: float | None = None
    energy_source: Literal["measured", "integrated", "estimated", "unknown"] = "unknown"
    expected_energy_per_output_token_j: float | None = None
    stock_energy_per_output_token_j: float | None = None
    saved: float | None = None
    unmet: str | None = None


class SpanView(View):
    """One coming of a schedule: from when to when it wants which objective; wall-clock seconds.

    Attributes:
        schedule: its name in the settings.
        timezone: the zone its line is written in, by its IANA name.
        ends_at: None if it holds until another schedule begins.
    """

    schedule: str
    objective: Objective
    timezone: str
    begins_at: float
    ends_at: float | None


class CalendarView(View):
    """The calendar from now on.

    Attributes:
        now: the daemon's wall clock.
        in_force: the span that holds now by the calendar, whatever an operator has said since.
        coming: what begins within the time that was asked for, soonest first.
    """

    now: float
    in_force: SpanView | None
    coming: list[SpanView]


class WindowView(View):
    """One window of the past, as charts want it; `at` is its end, wall-clock seconds.

    Attributes:
        slo_attainment: share of its finished requests within the SLO; None without any.
        mean_power_w, energy_per_output_token_j: prefill and idle time included; None where nothing is known.
        energy_source: see `EnergyView.source`.
    """

    id: int
    at: float
    duration_s: float
    configuration: dict[str, KnobValue]
    arrival_rate_rps: float
    goodput_rps: float
    output_throughput_tps: float
    mean_running: float
    mean_waiting: float
    slo_attainment: float | None
    ttft_s: Percentiles
    tpot_s: Percentiles
    e2e_latency_s: Percentiles
    mean_power_w: float | None
    energy_per_output_token_j: float | None
    energy_source: str


class WindowList(View):
    """Windows, oldest first."""

    windows: list[WindowView]


class SloView(View):
    """Latencies that a request must meet to count as good, None without a limit, and the share that must."""

    ttft_s: float | None
    tpot_s: float | None
    e2e_latency_s: float | None
    attainment: float


class StatusView(View):
    """Everything `reconfigure status` shows."""

    version: str
    pid: int
    uptime_s: float
    paused: bool
    objective: Objective
    objective_until: float | None
    next_change: SpanView | None = None  # by the calendar
    engine: HostState | None
    engine_error: str | None
    target: dict[str, KnobValue]
    enforced: dict[str, KnobValue] | None
    action: ActionState | None
    window: WorkloadWindow | None
    slo: SloView | None = None
    slo_attainment: float | None
    energy: EnergyView
    governor: GovernorStatus | None = None
    last_decision: DecisionView | None
    notices: list[str]  # e.g. an untested vLLM, a store that was set aside, an estimate in place of a counter
