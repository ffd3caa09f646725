"""What the control loop expects of the rooms around it, and the messages of the private socket.

The private socket is HTTP over a Unix socket (mode 600) in the runtime directory. The engine host serves it,
real or emulated, and `actuation` is its client:

    GET  /v1/state                 -> HostState
    POST /v1/knobs   {knob: value} -> HotResult
    POST /v1/switch  SwitchRequest -> newline-delimited SwitchProgress ..., then one SwitchReport
    GET  /v1/telemetry?after=SEQ   -> TelemetryBatch
    POST /v1/profile {seconds}     -> ProfileTraces
    POST /v1/stop    {drain_timeout_s}

A fault is answered with status 4xx/5xx and `{"error": {"kind": ..., "message": ..., ...facts}}`. A second action
while one runs gets 409 with `action` and `since`. Everything here is a frozen pydantic model or dataclass that
`pydantic.TypeAdapter` turns into JSON and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from reconfigure_policies.decision.governor import GovernorView
from reconfigure_policies.domain.configuration import Configuration, KnobValue
from reconfigure_policies.domain.decision import Decision, Outcome
from reconfigure_policies.domain.energy import EnergyReading
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.domain.history import (
    ControllerState,
    DecisionRecord,
    Observation,
    SwitchMeasurement,
    WindowRecord,
)
from reconfigure_policies.domain.objective import Objective, OperatorIntent, ServiceLevelObjective
from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.domain.workload import IterationTotals, RequestRecord, WorkloadWindow
from reconfigure_policies.surrogate import Quality, Quantity, Surrogates, Trial

#: A trace of more than a minute is gigabytes, and streams stand still while it is written.
MOST_PROFILED_S = 60.0

_Answer = TypeVar("_Answer")


class Message(BaseModel):
    """A frozen message; unknown fields are ignored so that an older controller can adopt a newer host."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class HostPhase(StrEnum):
    """Where the engine host is in its life."""

    BOOTING = "booting"
    SERVING = "serving"
    SWITCHING = "switching"
    RECOVERING = "recovering"  # a core died and its requests are being brought into a fresh one
    STOPPING = "stopping"
    FAILED = "failed"


class DeploymentState(Message):
    """One EngineCore's life under one configuration.

    Attributes:
        id: counts up within a host.
        booted_at: wall-clock seconds since the epoch.
        boot_s: how long it took from the request to its first generated token.
        pids: its processes.
    """

    id: int
    booted_at: float
    boot_s: float
    pids: list[int] = Field(default_factory=list)


class ActionState(Message):
    """The action that runs now: only one at a time."""

    kind: Literal["boot", "hot", "switch", "recover", "profile", "stop", "tune"]
    since: float  # wall clock
    phase: str  # e.g. "boot", "warm_up", "pre_copy", "move", "retire"
    detail: str = ""


class Capabilities(Message):
    """What this host can do with the vLLM it found.

    Attributes:
        hot_knobs: names that can change without a new core.
        exact_replay: whether live requests can be moved with their state.
        switch_modes: among `overlapped`, `sequential`, `drain`.
        reason: one sentence if something is off, e.g. an untested vLLM version; else "".
    """

    hot_knobs: list[str]
    exact_replay: bool
    switch_modes: list[str]
    reason: str = ""


class HostState(Message):
    """What `GET /v1/state` answers.

    Attributes:
        host_id: random, made at start: tells an adopted host from a new one.
        engine: `vllm` or `emulated`; an emulation is never passed off as a measurement.
        openai_url: where clients reach it.
        target: knob values asked for.
        enforced: knob values read back from the running core.
        core_restarts: EngineCores that died and were replaced.
        lost_requests: requests that could not be brought through, since start.
        off_knobs: knobs of the space that cannot be moved now, each with the reason in a sentence.
    """

    host_id: str
    pid: int
    started_at: float
    engine: Literal["vllm", "emulated"]
    engine_version: str
    model: str
    openai_url: str
    phase: HostPhase
    deployment: DeploymentState | None
    target: dict[str, KnobValue]
    enforced: dict[str, KnobValue]
    action: ActionState | None
    capabilities: Capabilities
    live_requests: int
    core_restarts: int = 0
    lost_requests: int = 0
    last_error: str | None = None
    off_knobs: dict[str, str] = Field(default_factory=dict)


class HotResult(Message):
    """Hot knobs after a change: what was asked, what the core enforces, and how long it took."""

    target: dict[str, KnobValue]
    enforced: dict[str, KnobValue]
    latency_s: float


class SwitchMode(StrEnum):
    """How a cold switch is done. `auto` lets the host choose by free memory and by what its vLLM supports.

    `overlapped` boots the new core beside the old one; `sequential` stops the old core first and requests wait;
    `drain` waits for live requests to finish and restarts: the fallback for an untested vLLM.
    """

    AUTO = "auto"
    OVERLAPPED = "overlapped"
    SEQUENTIAL = "sequential"
    DRAIN = "drain"


class SwitchRequest(Message):
    """A full configuration to move to.

    Attributes:
        configuration: every knob.
        mode: see `SwitchMode`.
        deadline_s: after this the switch is undone.
        inexact: what to do with live requests whose replay cannot be exact.
        dry_run: only say what would be done.
    """

    configuration: dict[str, KnobValue]
    mode: SwitchMode = SwitchMode.AUTO
    deadline_s: float = 300.0
    inexact: Literal["drain", "replay"] = "replay"
    dry_run: bool = False


class SwitchProgress(Message):
    """One step of a running switch."""

    event: Literal["progress"] = "progress"
    phase: str
    elapsed_s: float
    detail: str = ""


class SwitchReport(Message):
    """How a switch ended.

    Attributes:
        outcome: `applied`, `rolled_back` (the old core serves on) or `failed` (nothing could serve).
        detail: one sentence; for a failure, vLLM's own last error.
        live_requests: moved to the new core.
        replayed_tokens: tokens sent again at the cut.
        inexact_requests: moved although their replay is not exact.
        stall_s: per live stream, the time from its last output of the old core to its first of the new one:
            p50, p95 and max in that order; empty without live streams.
        phases_s: seconds per phase.
    """

    event: Literal["report"] = "report"
    outcome: Literal["applied", "rolled_back", "failed"]
    mode: SwitchMode
    detail: str
    enforced: dict[str, KnobValue]
    duration_s: float
    live_requests: int = 0
    replayed_tokens: int = 0
    inexact_requests: int = 0
    stall_s: list[float] = Field(default_factory=list)
    phases_s: dict[str, float] = Field(default_factory=dict)


class TelemetryBatch(Message):
    """Requests that finished after sequence number `after`, and the totals now.

    Attributes:
        next_after: pass it to the next call.
        dropped: records that were overwritten before they were read.
        now_s: the host's monotonic clock, for the records' times.
        steps: the serving core's steps since it booted, of all its replicas; None from a host that does not sum them.
        replicas: of the model in the serving core, each with a scheduler of its own, among which requests are spread.
    """

    host_id: str
    now_s: float
    next_after: int
    dropped: int
    records: list[RequestRecord]
    totals: IterationTotals
    steps: StepTotals | None = None
    replicas: int = 1


class ProfileTraces(Message):
    """What the serving core's workers recorded of themselves.

    Attributes:
        files: one chrome trace for each worker, on the host's own disk until the next profile.
        seconds: how long they recorded.
        writing_s: how long they then took to write it down; streams stand still meanwhile.
    """

    files: list[str]
    seconds: float
    writing_s: float


class NamedTime(Message):
    """All kernels or operators of one name.

    Attributes:
        kind: see `DeviceProfile`.
        seconds: in sum; on a GPU they may overlap with others'.
    """

    name: str
    kind: str
    seconds: float
    calls: int


class DeviceProfile(Message):
    """Where one GPU's, or the processor's, time went.

    Attributes:
        trace: the file that tells it all; Perfetto and chrome://tracing show it.
        device: `GPU 0`, or `CPU`.
        span_s: how long was recorded.
        seconds: by kind: gemm, attention, collective, other, copy, idle; together they are `span_s`.
        top: what took longest, longest first.
    """

    trace: str
    device: str
    span_s: float
    seconds: dict[str, float]
    top: list[NamedTime]

    def share(self, kind: str) -> float:
        """Part of the time, 0 to 1."""
        return self.seconds.get(kind, 0.0) / self.span_s if self.span_s > 0 else 0.0


class EngineHost(Protocol):
    """The running data plane, behind its private socket.

    Every method raises `EngineHostUnreachable` when nobody answers, `ActionInProgress` (409) when another action
    runs, `ConfigurationOutsideSpace` for knobs it refuses, and `EngineHostFault` for anything else it reports.
    """

    async def state(self) -> HostState:
        """The present state, enforced knobs read from the core."""

    async def set_knobs(self, changes: Mapping[str, KnobValue]) -> HotResult:
        """Change hot knobs and read them back."""

    async def switch(
        self, request: SwitchRequest, on_progress: Callable[[SwitchProgress], None] | None = None
    ) -> SwitchReport:
        """Move to a configuration; returns when it is done or undone."""

    async def telemetry(self, after: int) -> TelemetryBatch:
        """Records since a sequence number."""

    async def profile(self, seconds: float) -> ProfileTraces:
        """Record the serving core for so long; `RequestRefused` if it was started without a profiler."""

    async def stop(self, drain_timeout_s: float) -> None:
        """Finish live requests up to the timeout, then end the host."""


class EnergyMeter(Protocol):
    """Reads every device that the daemon accounts for."""

    def read(self) -> EnergyReading:
        """Cumulative joules now; cheap enough for once a second; never raises for a device that is gone."""

    def close(self) -> None:
        """Release the drivers."""


class EngineHostLauncher(Protocol):
    """Finds a running engine host, or starts one."""

    async def adopt_or_start(self, configuration: Mapping[str, KnobValue] | None = None) -> EngineHost:
        """Adopt the host that answers on the private socket; otherwise start one and wait until it serves.

        Args:
            configuration: what a fresh host is to enforce; that of `start_objective` if it is left out.
        """

    async def restart(self, configuration: Mapping[str, KnobValue]) -> EngineHost:
        """Start a fresh host after the old one died."""


class WindowSource(Protocol):
    """Cuts telemetry into workload windows.

    Attributes:
        slo: what makes a finished request a good one; may be replaced between two batches.
        core_since_s: when the present core began to serve undisturbed, on the host's monotonic clock; likewise.
    """

    slo: ServiceLevelObjective
    core_since_s: float

    def current(self) -> WorkloadWindow | None:
        """The window in the making; None before there is any of it."""

    def restart(self) -> None:
        """Drop the window in the making, so that none mixes two configurations."""

    def add(self, batch: TelemetryBatch, energy: EnergyReading | None) -> list[WorkloadWindow]:
        """Take one batch and the joules so far; returns the windows that are complete now, oldest first."""


@dataclass(frozen=True, slots=True)
class Served:
    """What trials are true of: those of another engine, model or device say nothing here.

    Attributes:
        engine: `vllm` or `emulated`.
        engine_version: what answered; told, and not a reason to forget what was learned.
        model: as it is served.
        device: the GPUs, or the processor without any, e.g. `1 x NVIDIA H200`.
    """

    engine: str
    engine_version: str
    model: str
    device: str


@dataclass(frozen=True, slots=True)
class TuningRecord:
    """A tuning session as it is kept: enough to go on with it, and to undo what it left behind.

    Attributes:
        id: unique and sortable by time.
        started_at: wall-clock seconds.
        ended_at: None while it runs, and for one that its controller did not live to end.
        request: what was asked for, as JSON values.
        context: the workload that its trials offer.
        restore: what was enforced before it, and is to be again.
        trials: measured so far, failed boots included.
        outcome: how it ended, in words; "" before.
    """

    id: str
    started_at: float
    request: Mapping[str, Any]
    context: WorkloadContext
    restore: Configuration
    trials: int = 0
    ended_at: float | None = None
    outcome: str = ""


class TrialStore(Protocol):
    """Where trials are kept; like `Journal`, no method raises for a fault of the disk."""

    async def record_trials(
        self, served: Served, trials: Sequence[Trial], origin: str, session_id: str | None = None
    ) -> bool:
        """Keep trials that were measured on purpose or imported; returns whether the disk took them."""

    async def trials(self, served: Served, limit: int) -> list[Trial]:
        """At most `limit` trials, the newest, oldest first: observed windows and those kept here."""

    async def trials_of(self, session_id: str) -> list[Trial]:
        """Those of one tuning session, oldest first."""

    async def windows(self, limit: int) -> list[WorkloadWindow]:
        """The latest windows in which requests finished, newest first."""

    async def save_session(self, session: TuningRecord) -> None:
        """Keep a session, new or as it is now."""

    async def last_session(self) -> TuningRecord | None:
        """The latest one."""

    async def record_fit(self, at: float, report: Mapping[str, Any]) -> None:
        """Keep what a fit found, in place of older ones."""

    async def last_fit(self) -> Mapping[str, Any] | None:
        """What the latest fit found."""


@dataclass(frozen=True, slots=True)
class FitReport:
    """What is known of the surrogates in force.

    Attributes:
        basis: what they rest on, or why there are none, as a clause.
        needed: trials that are needed before anything is learned.
        trials: how many they were fitted to, failed ones included.
        failed: how many of these found that a configuration does not work.
        at: when they were fitted, wall-clock seconds; None before.
        duration_s: how long that took.
        quality: leave-one-out; None before.
        checked: per quantity, windows that came after a fit, against what that fit had forecast of them.
        error: why the last fit failed; "" if it did not.
    """

    basis: str
    needed: int
    trials: int = 0
    failed: int = 0
    at: float | None = None
    duration_s: float | None = None
    quality: Quality | None = None
    checked: Mapping[Quantity, CheckedForecasts] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class CheckedForecasts:
    """Forecasts that were made before the fact, and the facts.

    Attributes:
        count: how many.
        mape: mean absolute error as a share of what was measured.
        coverage: share of what was measured that lay in its 95 % interval.
        bias: mean of the logarithm of measured over forecast: steadily off 0 is drift.
    """

    count: int
    mape: float
    coverage: float
    bias: float


class Learner(Protocol):
    """The surrogates of a running daemon, for whoever shows or extends what was learned."""

    async def report(self) -> FitReport:
        """What is known of the surrogates; fits them if that is due."""

    async def fitted(self, *, fresh: bool = False) -> Surrogates | None:
        """The surrogates; None while too little was learned. `fresh` fits what has come since, however recent."""

    async def expectations(self, context: WorkloadContext) -> tuple[Forecast, ...] | None:
        """Like `Forecaster.forecasts`, also from surrogates that are not to be trusted: to look at, not to act on."""

    def describe(self) -> str:
        """See `Forecaster`."""

    def served(self) -> Served | None:
        """What is learned about now; None before an engine was read."""

    async def computed(self, work: Callable[[], _Answer]) -> _Answer:
        """What a function over surrogates returns, computed in the learner's own thread."""


class LoadTally(Protocol):
    """What became of a load's requests so far.

    Attributes:
        sent, completed, failed: requests.
        fault: what happened to the latest one that failed.
    """

    sent: int
    completed: int
    failed: int
    fault: str

    @property
    def unserved(self) -> bool:
        """Whether some have failed, and none was completed."""


class LoadSource(Protocol):
    """Sends requests of exact lengths to the engine."""

    def offered(
        self, host: HostState, lengths: Sequence[tuple[int, int]], rate_rps: float | None, concurrency: int, seed: int
    ) -> AbstractAsyncContextManager[LoadTally]:
        """Keep the engine under load while the block runs; at its end what still runs is aborted.

        Args:
            host: where clients reach it.
            lengths: `(prompt, output)` tokens of its requests, taken in turn.
            rate_rps: arrivals each second, whatever the engine does (open loop); None for a closed loop.
            concurrency: requests in the engine at the start of an open loop, and always of a closed one.
            seed: of arrival times and prompts; another seed shares no prompt.
        """


class Forecaster(Protocol):
    """What configurations are expected to do under a workload, as far as it has been learned."""

    async def forecasts(self, context: WorkloadContext) -> tuple[Forecast, ...] | None:
        """One forecast for each candidate, i.e. each configuration that the space enumerates.

        Long work runs outside the event loop; a caller may ask for several contexts one after another. Never raises
        for a model that cannot be fitted.

        Returns:
            None while too little was learned; `describe` says what is missing.
        """

    def describe(self) -> str:
        """What the forecasts rest on, or why there are none, as a clause, e.g. `4 observations of 12 needed`."""


class LearningMetrics(Protocol):
    """What learning makes visible; every method only takes note. A `quantity` is a field of `Forecast`."""

    def observe_shift(self, quantities: Iterable[str]) -> None:
        """The workload has shifted in these fields of `WorkloadContext`."""

    def observe_forecast(self, forecast: Forecast | None) -> None:
        """What is expected of the enforced configuration now; None where nothing is."""

    def observe_forecast_check(self, quantity: str, expected: Estimate, measured: float) -> None:
        """A quantity was measured that had been forecast; both in the quantity's unit."""

    def observe_surrogate(
        self, quantity: str, observations: int, error_ratio: float | None = None, coverage_ratio: float | None = None
    ) -> None:
        """A surrogate was fitted to so many observations.

        Args:
            quantity: what it predicts.
            observations: how many it was fitted to.
            error_ratio: mean error on observations that were held out, as a share of the measured value.
            coverage_ratio: share of them within the 95 % interval.
        """

    def observe_fit(self, duration_s: float) -> None:
        """All surrogates were fitted."""

    def observe_front(self, configurations: int, hypervolume: float) -> None:
        """The Pareto front was drawn anew."""


class LoopMetrics(LearningMetrics, Protocol):
    """What the control loop makes visible; every method only takes note."""

    def observe_controller(self, objective: Objective, paused: bool, store_degraded: bool) -> None:
        """What holds for the controller now."""

    def observe_tick(self, duration_s: float, lag_s: float, at: float) -> None:
        """One tick of the control loop was done; it began `lag_s` late and ended at wall-clock time `at`."""

    def observe_energy(self, reading: EnergyReading) -> None:
        """The meter was read."""

    def observe_adoption(self) -> None:
        """A running engine host was taken over."""

    def observe_state(self, state: HostState | None) -> None:
        """The engine host was read; None if it did not answer."""

    def observe_telemetry(self, batch: TelemetryBatch, slo: ServiceLevelObjective) -> None:
        """Its telemetry was read, while this SLO was in force."""

    def observe_governor(self, active: bool, energy_stretches: float, seen: GovernorView | None) -> None:
        """Whether the governor acts, how much its model has learned, and what it sees; None while it stands by."""

    def observe_window(self, window: WorkloadWindow, slo: ServiceLevelObjective) -> None:
        """A workload window is complete."""

    def observe_intent(self, intent: OperatorIntent) -> None:
        """An intent was accepted."""

    def observe_decision(self, decision: Decision, at: float) -> None:
        """A decision was stored at wall-clock time `at` and is about to act."""

    def observe_outcome(self, decision: Decision, outcome: Outcome, mode: SwitchMode | None = None) -> None:
        """A decision has ended, or its unknown end has become known; `mode` tells a cold switch."""


class Journal(Protocol):
    """The controller's memory. No method raises for a fault of its disk: the loop goes on, and `notices` says so."""

    @property
    def degraded(self) -> str | None:
        """What is wrong with the disk, or None while it takes everything."""

    @property
    def notices(self) -> list[str]:
        """What an operator should know of it."""

    async def record_decision(self, decision: Decision, at: float, enforced_before: Configuration | None = None) -> int:
        """Keep a decision before it acts, with the intent behind it; returns its id."""

    async def record_outcome(self, decision_id: int, outcome: Outcome, at: float, mode: str | None = None) -> None:
        """Keep what became of a decision, in place of an earlier `unknown`; `mode` tells a cold switch."""

    async def decisions(self, limit: int = 20, before: int | None = None) -> list[DecisionRecord]:
        """At most `limit` decisions with an id below `before`, newest first, each with its outcome."""

    async def pending_decisions(self) -> list[DecisionRecord]:
        """Decisions that were to act and have no outcome, newest first."""

    async def switch_measurements(self, limit: int = 50) -> list[SwitchMeasurement]:
        """The latest successful cold switches of every mode, newest first."""

    async def record_deployment(self, host: HostState) -> None:
        """Keep a host and the deployment that it runs; repeating it changes nothing."""

    async def record_window(
        self, window: WorkloadWindow, configuration: Configuration, host_id: str, at: float
    ) -> None:
        """Keep a window that ended at wall-clock time `at` under a configuration."""

    async def windows(self, limit: int, after: int = 0) -> list[WindowRecord]:
        """The newest `limit` windows with an id above `after`, oldest first."""

    async def record_observation(self, observation: Observation) -> None:
        """Keep a settled window to learn from."""

    async def save_state(self, state: ControllerState) -> None:
        """Keep what a restart must not forget."""

    async def load_state(self) -> ControllerState | None:
        """What was kept last, or None in a fresh store."""

    async def sweep(self) -> None:
        """Forget what is older than the retention."""


class ProgressSink(Protocol):
    """Receives progress of a long action, for the CLI and the page."""

    def __call__(self, progress: SwitchProgress) -> None:
        """Take one step's report."""
