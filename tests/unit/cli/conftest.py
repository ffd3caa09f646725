"""A small daemon that really listens, for the command line to talk to."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from typer.testing import CliRunner

from reconfigure_daemon.cli.main import app
from reconfigure_daemon.control_api.learning_messages import (
    EstimateView,
    ExplanationView,
    ForecastView,
    InfluenceView,
    MeasuredView,
    NeighbourView,
    ParetoView,
    QuantityView,
    RivalView,
    SurrogateView,
)
from reconfigure_daemon.control_api.messages import (
    CalendarView,
    DecisionList,
    DecisionView,
    EnergyView,
    GovernorStatus,
    IntentRequest,
    IntentResult,
    KnobChange,
    OutcomeView,
    PlanView,
    SpanView,
    StatusView,
)
from reconfigure_daemon.control_api.profiles import ProfileView
from reconfigure_daemon.control_api.tuning_messages import TriedView, TuningView
from reconfigure_daemon.ports import (
    Capabilities,
    DeploymentState,
    DeviceProfile,
    HostPhase,
    HostState,
    NamedTime,
    SwitchMode,
    SwitchProgress,
)
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.objective import Objective
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow

CHANGES = [
    KnobChange(name="max_num_seqs", tier="hot", before=8, after=64),
    KnobChange(name="block_size", tier="cold", before=16, after=32),
]
PLAN = PlanView(
    changes=CHANGES,
    mode=SwitchMode.OVERLAPPED,
    expected_duration_s=12.5,
    expected_stall_s=0.06,
    expected_energy_j=840.0,
    live_requests=8,
    basis="median of 3 switches",
    sentences=["A new core boots beside the old one and 8 live requests move to it."],
)
OUTCOME = OutcomeView(
    kind=OutcomeKind.APPLIED,
    detail="8 requests moved.",
    enforced={"max_num_seqs": 64, "block_size": 32},
    duration_s=11.9,
    measurements={"stall_p95_s": 0.0584, "boot_s": 9.4, "energy_j": 812.3, "live_requests": 8},
    at=993600.0,
)
DECISION = DecisionView(
    id=17,
    at=993600.0,
    kind=DecisionKind.REDEPLOY,
    reason="cli asked for block_size=32 [cold] and max_num_seqs=64.",
    source="cli",
    target={"max_num_seqs": 64, "block_size": 32},
    changes=CHANGES,
    outcome=OUTCOME,
)
ENGINE = HostState(
    host_id="h",
    pid=41,
    started_at=0.0,
    engine="emulated",
    engine_version="1",
    model="SmolLM2",
    openai_url="http://127.0.0.1:8000",
    phase=HostPhase.SERVING,
    deployment=DeploymentState(id=3, booted_at=900.0, boot_s=4.2),
    target={},
    enforced={},
    action=None,
    capabilities=Capabilities(hot_knobs=["max_num_seqs"], exact_replay=True, switch_modes=["overlapped"]),
    live_requests=5,
)
WINDOW = WorkloadWindow(
    started_s=0,
    duration_s=30,
    arrivals=60,
    finished=55,
    slo_met=50,
    prompt_tokens=1000,
    cached_prompt_tokens=0,
    output_tokens=3000,
    preemptions=0,
    mean_running=4,
    mean_waiting=0,
    ttft_s=Percentiles(0.04, 0.09, 0.2),
    energy_j=600.0,
    energy_source="estimated",
)
STATUS = StatusView(
    version="0.1.0",
    pid=40,
    uptime_s=5400,
    paused=False,
    objective=Objective.ENERGY,
    objective_until=None,
    engine=ENGINE,
    engine_error=None,
    target={"max_num_seqs": 64, "block_size": 32},
    enforced={"max_num_seqs": 8, "block_size": 32},
    action=None,
    window=WINDOW,
    slo_attainment=0.91,
    energy=EnergyView(source="estimated", energy_j=1234.5, power_w=45.6, devices=[]),
    governor=GovernorStatus(
        enabled=True,
        active=True,
        standing_by=None,
        ttft_headroom=0.93,
        tpot_headroom=-0.08,
        energy_per_output_token_j=0.251,
        energy_source="estimated",
        expected_energy_per_output_token_j=0.25,
        stock_energy_per_output_token_j=0.5,
        saved=0.5,
    ),
    last_decision=DECISION,
    notices=["No energy counter was found: joules are an estimate."],
)

CONTEXT = WorkloadContext(4.0, 512.0, 128.0)


def forecast(cap, energy_j, throughput_tps) -> ForecastView:
    ranges = [EstimateView(median=value, low=0.9 * value, high=1.1 * value) for value in (energy_j, throughput_tps)]
    return ForecastView(
        configuration={"max_num_seqs": cap, "block_size": 32},
        energy_per_output_token_j=ranges[0],
        throughput_tps=ranges[1],
        ttft_p99_s=EstimateView(median=0.2, low=0.1, high=0.3),
        tpot_p99_s=None,
        feasibility=0.98,
        observations=2,
    )


PARETO = ParetoView(
    context=CONTEXT,
    basis="fitted 3m ago to 40 trials",
    warnings=[],
    front=[forecast(64, 0.5, 1300.0), forecast(8, 0.25, 200.0)],
    enforced=forecast(32, 0.45, 600.0),
    measured=[
        MeasuredView(
            configuration={"max_num_seqs": 64},
            context=CONTEXT,
            at=1.0,
            measured={"throughput_tps": 1290.0, "energy_per_output_token_j": 0.51},
            feasible=True,
        )
    ],
    energy_source="estimated",
    candidates=84,
)
EXPLANATION = ExplanationView(
    basis="fitted 3m ago to 40 trials",
    context=CONTEXT,
    forecast=forecast(32, 0.45, 600.0),
    neighbours=[
        NeighbourView(
            knob="max_num_seqs",
            value=64,
            ratios={"energy_per_output_token_j": 1.11, "throughput_tps": 2.17},
            clear=["throughput_tps"],
            feasibility=0.98,
        )
    ],
    influences=[
        InfluenceView(knob="max_num_seqs", spread={"throughput_tps": 6.5}),
        InfluenceView(knob="block_size", spread={"throughput_tps": 1.0}),
    ],
    rivals=[
        RivalView(quantity="throughput_tps", configuration={"max_num_seqs": 64}, share=1.17, is_clear=True),
        RivalView(quantity="energy_per_output_token_j", configuration={"max_num_seqs": 8}, share=0.02, is_clear=False),
    ],
    objective="energy",
    min_saving=0.03,
)
SURROGATE = SurrogateView(
    basis="fitted 3m ago to 40 trials",
    fitted=True,
    trusted=True,
    faults=[],
    needed=12,
    trials=40,
    failed=2,
    at=993600.0,
    duration_s=0.4,
    quantities=[
        QuantityView(
            quantity="energy_per_output_token_j",
            trials=38,
            configurations=30,
            r2=0.971,
            mape=0.034,
            coverage=0.95,
            ceiling_r2=0.99,
            linear_r2=0.8,
            noise_relative_sd=0.012,
            checked=9,
            checked_mape=0.051,
            checked_coverage=0.89,
            checked_bias=0.02,
        )
    ],
)
PROFILE = ProfileView(
    configuration={"block_size": 32},
    engine="vllm 0.24.0",
    seconds=5.01,
    writing_s=1.4,
    live_requests=8,
    devices=[
        DeviceProfile(
            trace="/run/profiles/rank0.pt.trace.json",
            device=device,
            span_s=5.0,
            seconds={"gemm": 2.5, "attention": 0.5, "collective": 0.25, "other": 0.5, "copy": 0.0, "idle": 1.25},
            top=[
                NamedTime(name="nvjet_tst_192x128_64x4", kind="gemm", seconds=2.0, calls=900),
                NamedTime(name="flash::flash_fwd_splitkv_kernel<...>", kind="attention", seconds=0.5, calls=300),
            ],
        )
        for device in ("GPU 0", "GPU 1")
    ],
)


def tried(number, by, cap, energy_j, throughput_tps, **facts) -> TriedView:
    measured = {"energy_per_output_token_j": energy_j, "throughput_tps": throughput_tps, "ttft_p99_s": 0.2}
    configuration = {"max_num_seqs": cap, "block_size": 32}
    view = MeasuredView(configuration=configuration, context=CONTEXT, at=1.0, measured=measured, feasible=True)
    return TriedView(number=number, measured=view, by=by, duration_s=21.0, energy_j=900.0, **facts)


FAILED = MeasuredView(
    configuration={"max_num_seqs": 64, "block_size": 64},
    context=CONTEXT,
    at=2.0,
    measured={},
    feasible=False,
    reason="out of memory",
)
TUNING = TuningView(
    id="s1",
    state="finished",
    phase="",
    current=None,
    wanted=4,
    trials=[
        tried(1, "start", 32, 0.5, 600.0),
        tried(2, "sobol", 64, 0.45, 1200.0, on_front=True),
        TriedView(number=3, measured=FAILED, by="sobol"),
        tried(4, "nehvi", 8, 0.25, 200.0, on_front=True, expected=forecast(8, 0.26, 210.0)),
    ],
    growth=[0.4, 0.8, 0.8, 1.0],
    context=CONTEXT,
    restore={"max_num_seqs": 32, "block_size": 32},
    started_at=993600.0,
    ended_at=993690.0,
    energy_j=3600.0,
    energy_source="estimated",
    outcome="4 trials were measured",
)
LEARNED = {"/v1/tune": TUNING, "/v1/pareto": PARETO, "/v1/explanation": EXPLANATION, "/v1/surrogate": SURROGATE}


NIGHT = SpanView(
    schedule="night", objective=Objective.ENERGY, timezone="Europe/Berlin", begins_at=1809633600, ends_at=1809662400
)
CALENDAR = CalendarView(now=1809600000, in_force=None, coming=[NIGHT])


def dumped(message) -> dict:
    return message.model_dump(mode="json")


@dataclass
class Daemon:
    """What the daemon answers, and what it was asked."""

    url: str = ""
    status: dict = field(default_factory=lambda: dumped(STATUS))
    decisions: list[DecisionView] = field(default_factory=lambda: [DECISION])
    result: IntentResult = field(default_factory=lambda: IntentResult(intent_id="i1", plan=PLAN, decision=DECISION))
    steps: tuple[SwitchProgress, ...] = (
        SwitchProgress(phase="boot", elapsed_s=4.2, detail="weights loaded"),
        SwitchProgress(phase="pre_copy", elapsed_s=9.8),
    )
    calendar: CalendarView = CALENDAR
    fault: tuple[int, dict] | None = None
    late_fault: dict | None = None
    breaks_off: bool = False
    intents: list[dict] = field(default_factory=list)
    queries: list[dict] = field(default_factory=list)
    learned: dict[str, dict] = field(default_factory=lambda: {path: dumped(view) for path, view in LEARNED.items()})
    exported: bytes = b'{"format": "reconfigure-trials"}\n{"at": 1}\n{"at": 2}\n'
    imported: list[bytes] = field(default_factory=list)
    profile: dict = field(default_factory=lambda: dumped(PROFILE))
    profiled: list[dict] = field(default_factory=list)
    tuned: list[tuple[str, dict]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    async def answer_get(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        self.tokens.append(request.headers.get("Authorization"))
        if self.fault:
            return self.faulty()
        if request.path in self.learned:
            return web.json_response(self.learned[request.path])
        if request.path == "/v1/trials":
            return web.Response(body=self.exported, content_type="application/x-ndjson")
        if request.path == "/v1/decisions":
            return web.json_response(dumped(DecisionList(decisions=self.decisions)))
        if request.path == "/v1/schedule":
            return web.json_response(dumped(self.calendar))
        return web.json_response(self.status)

    async def answer_intent(self, request: web.Request) -> web.StreamResponse:
        asked = IntentRequest.model_validate_json(await request.text())
        self.intents.append(asked.model_dump(mode="json", exclude_defaults=True))
        if self.fault:
            return self.faulty()
        assert request.headers["Accept"] == "application/x-ndjson"
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        if asked.dry_run:
            lines = [dumped(self.result.model_copy(update={"decision": None, "intent_id": None}))]
        else:
            end = {"event": "error", "error": self.late_fault} if self.late_fault else dumped(self.result)
            lines = [*map(dumped, self.steps), *([] if self.breaks_off else [end])]
        for line in lines:
            await response.write(json.dumps(line).encode() + b"\n")
        return response

    async def answer_profile(self, request: web.Request) -> web.Response:
        self.profiled.append(await request.json())
        return self.faulty() if self.fault else web.json_response(self.profile)

    async def take_trials(self, request: web.Request) -> web.Response:
        self.imported.append(await request.read())
        return self.faulty() if self.fault else web.json_response({"taken": 2, "known": 1})

    async def tune(self, request: web.Request) -> web.Response:
        self.tuned.append((request.path, await request.json()))
        if request.path == "/v1/tune/stop":
            self.learned["/v1/tune"] |= {"state": "stopped", "phase": "", "outcome": "stopped by the operator"}
        return self.faulty() if self.fault else web.json_response(self.learned["/v1/tune"])

    def faulty(self) -> web.Response:
        status, error = self.fault
        return web.json_response({"error": error}, status=status)


@pytest.fixture
def daemon(monkeypatch):
    """A daemon on a free port of loopback, named by RECONFIGURE_URL."""
    answers, loop, ready = Daemon(), asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        application = web.Application()
        application.router.add_get("/{path:.*}", answers.answer_get)
        application.router.add_post("/v1/intents", answers.answer_intent)
        application.router.add_post("/v1/profile", answers.answer_profile)
        application.router.add_post("/v1/trials", answers.take_trials)
        application.router.add_post("/v1/tune{rest:.*}", answers.tune)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        answers.url = "http://{}:{}".format(*runner.addresses[0][:2])
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    monkeypatch.setenv("RECONFIGURE_URL", answers.url)
    yield answers
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def run(monkeypatch):
    """Run the command line in this process; the terminal is wide and colourless."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *words, **more: CliRunner().invoke(app, list(words), prog_name="reconfigure", **more)
