"""The control API over aiohttp."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from reconfigure_daemon.bounds import MOST_DAYS, MOST_DECISIONS, MOST_WINDOWS
from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_api import openapi
from reconfigure_daemon.control_api.connections import KEEP_ALIVE_S, ConnectionLimits, body_of
from reconfigure_daemon.control_api.faults import MAX_BODY_BYTES, faults_as_json, http_log, in_words, told
from reconfigure_daemon.control_api.guards import browser_guard, token_guard
from reconfigure_daemon.control_api.learning_endpoints import Learned, LearningEndpoints
from reconfigure_daemon.control_api.messages import DecisionList, IntentRequest, IntentResult, WindowList
from reconfigure_daemon.control_api.page_files import page_routes
from reconfigure_daemon.control_api.profiles import ProfileEndpoint, ReadProfiles
from reconfigure_daemon.control_api.response_headers import add_headers
from reconfigure_daemon.control_api.tuning_endpoints import TuningEndpoints
from reconfigure_daemon.control_api.views import (
    calendar_view,
    decision_view,
    plan_view,
    result_view,
    status_view,
    window_view,
)
from reconfigure_daemon.control_loop import ControlLoop, Handled, new_intent
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.ports import HostPhase, Journal, SwitchProgress
from reconfigure_daemon.schedules.calendar import DAY_S
from reconfigure_daemon.tuning import Tuning
from reconfigure_policies.domain.objective import IntentKind, OperatorIntent

NDJSON = "application/x-ndjson"

#: A loop that has not ticked for this long hangs: a tick is bounded by its patience with a silent engine.
_STALE_S = 30.0

#: What is being answered when the daemon ends may take this long.
_SHUTDOWN_TIMEOUT_S = 2.0

#: Connections that wait to be accepted. Beyond it the kernel drops them, and a probe in a flood comes again after 1 s.
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Controller:
    """What the control API speaks for.

    Attributes:
        loop: carries out intents and knows the state.
        journal: decisions of the past.
        render_metrics: Prometheus' text.
        metrics_type: its content type.
        notices: what an operator should know.
        clock: for uptime and intents.
        learned: what was learned; None in a daemon that learns nothing.
        read_profiles: reads traces; None in a daemon that cannot.
        tuning: measures configurations on purpose; None in a daemon that cannot.
    """

    loop: ControlLoop
    journal: Journal
    render_metrics: Callable[[], bytes]
    metrics_type: str
    notices: Callable[[], list[str]]
    clock: Clock
    learned: Learned | None = None
    read_profiles: ReadProfiles | None = None
    tuning: Tuning | None = None


async def serve(controller: Controller, listener: socket.socket, token: str | None) -> web.AppRunner:
    """Answer on a listening socket until `cleanup()` of the runner that is returned.

    Args:
        controller: what to speak for.
        listener: see `listener.listen`.
        token: what every request but probes must carry; None asks for nothing.
    """
    limits = ConnectionLimits(controller.clock)
    guards = [faults_as_json, browser_guard(str(listener.getsockname()[0])), token_guard(token), limits.guard()]
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=guards)
    endpoints = _Endpoints(controller)
    application.add_routes(
        [
            web.get("/healthz", endpoints.healthz),
            web.get("/readyz", endpoints.readyz),
            web.get("/metrics", endpoints.metrics),
            web.get("/v1/status", endpoints.status),
            web.get("/v1/decisions", endpoints.decisions),
            web.get("/v1/windows", endpoints.windows),
            web.get("/v1/schedule", endpoints.schedule),
            web.post("/v1/intents", endpoints.intents),
        ]
    )
    if controller.read_profiles is not None:
        profiles = ProfileEndpoint(controller.loop, controller.read_profiles)
        application.add_routes([web.post("/v1/profile", profiles.profile)])
    if controller.learned is not None:
        application.add_routes(LearningEndpoints(controller.learned, controller.loop).routes())
    if controller.tuning is not None:
        application.add_routes(TuningEndpoints(controller.tuning, controller.loop).routes())
    described = json.dumps(openapi.description(application.router.routes()))
    application.add_routes([web.get(openapi.PATH, _always(described)), *page_routes()])
    application.on_response_prepare.append(add_headers)
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=_SHUTDOWN_TIMEOUT_S,
        keepalive_timeout=KEEP_ALIVE_S,
        logger=http_log(),
    )
    application.cleanup_ctx.append(lambda _: limits.kept(runner))
    await runner.setup()
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    return runner


class _Endpoints:
    """One method per path."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._loop = controller.loop
        self._started_s = controller.clock.monotonic()

    async def healthz(self, _: web.Request) -> web.Response:
        """Whether the process lives and its loop ticks."""
        silent_s = self._controller.clock.monotonic() - self._loop.last_tick_s
        alive = silent_s < _STALE_S
        answer = {"status": "ok" if alive else f"the control loop has not ticked for {silent_s:.0f} s"}
        return web.json_response(answer, status=200 if alive else 503)

    async def readyz(self, _: web.Request) -> web.Response:
        """Whether clients are served and commands are taken."""
        state, keeper = self._loop.sampler.state, self._loop.keeper
        if state is None or (state.phase is HostPhase.SERVING and not keeper.has_host):  # it is seen before it is taken
            return web.json_response({"status": keeper.error or "the engine was not read yet"}, status=503)
        ready = state.phase in (HostPhase.SERVING, HostPhase.SWITCHING)
        return web.json_response({"status": "ok" if ready else state.phase}, status=200 if ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus' text format."""
        content_type = {hdrs.CONTENT_TYPE: self._controller.metrics_type}
        return web.Response(body=self._controller.render_metrics(), headers=content_type)

    async def status(self, _: web.Request) -> web.Response:
        """Everything at a glance."""
        uptime_s = self._controller.clock.monotonic() - self._started_s
        return _answer(status_view(self._loop, self._controller.notices(), uptime_s))

    async def decisions(self, request: web.Request) -> web.Response:
        """The history, newest first."""
        limit = _number(request, "limit", 20, MOST_DECISIONS)
        before = _number(request, "before", None, None)
        records = await self._controller.journal.decisions(limit or 1, before)
        return _answer(DecisionList(decisions=[decision_view(record) for record in records]))

    async def windows(self, request: web.Request) -> web.Response:
        """Workload windows of the past, as far as the store has them."""
        limit, after = _number(request, "limit", 240, MOST_WINDOWS), _number(request, "after", None, None)
        records = await self._controller.journal.windows(limit or 1, after or 0)
        return _answer(WindowList(windows=[window_view(record) for record in records]))

    async def schedule(self, request: web.Request) -> web.Response:
        """What the calendar wants now and in the coming days."""
        days = _number(request, "days", 7, MOST_DAYS) or 7
        return _answer(calendar_view(self._loop.calendar, self._controller.clock.wall(), days * DAY_S))

    async def intents(self, request: web.Request) -> web.StreamResponse:
        """Plan or carry out what an operator asks."""
        wanted = _parsed(await body_of(request))
        intent = self._intent(wanted)
        if wanted.dry_run:
            planned = await self._loop.plan(intent)
            view = None if planned is None else plan_view(planned)
            return _answer(IntentResult(intent_id=None, plan=view, decision=None))
        if NDJSON not in request.headers.get(hdrs.ACCEPT, ""):
            return _answer(result_view(await self._loop.submit(intent)))
        return await self._stream(request, intent)

    async def _stream(self, request: web.Request, intent: OperatorIntent) -> web.StreamResponse:
        """Progress line by line, the result last; a refusal before the first line has its own HTTP status."""
        steps: asyncio.Queue[SwitchProgress | None] = asyncio.Queue()

        def report(progress: SwitchProgress) -> None:
            steps.put_nowait(progress)

        def finish(done: asyncio.Task[Handled]) -> None:
            done.cancelled() or done.exception()  # seen, even if the client has left
            steps.put_nowait(None)

        work = asyncio.create_task(self._loop.submit(intent, report))
        work.add_done_callback(finish)
        step = await steps.get()
        if step is None and (error := work.exception()):
            raise error
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: NDJSON})
        await response.prepare(request)
        while step is not None:
            await response.write(_line(step.model_dump(mode="json")))
            step = await steps.get()
        await response.write(_last_line(work))
        await response.write_eof()
        return response

    def _intent(self, wanted: IntentRequest) -> OperatorIntent:
        _check(wanted)
        return new_intent(
            self._controller.clock,
            wanted.kind,
            wanted.source,
            objective=wanted.objective,
            changes=wanted.changes,
            lasting_s=wanted.expires_in_s,
        )


def _always(text: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        """This description."""
        return web.json_response(text=text)

    return answer


def _check(wanted: IntentRequest) -> None:
    """Refuse fields that the intent's kind does not have, rather than drop what somebody meant."""
    given = {
        "objective": wanted.objective is not None,
        "changes": bool(wanted.changes),
        "expires_in_s": wanted.expires_in_s is not None,
    }
    allowed = {IntentKind.OBJECTIVE: {"objective", "expires_in_s"}, IntentKind.APPLY: {"changes"}}
    surplus = [name for name, there in given.items() if there and name not in allowed.get(wanted.kind, set())]
    if surplus:
        raise RequestInvalid(f"an intent of kind {wanted.kind} has no {' and no '.join(surplus)}; leave it out")
    if wanted.kind is IntentKind.OBJECTIVE and wanted.objective is None:
        raise RequestInvalid("objective: missing; write energy, throughput or balanced")
    if wanted.kind is IntentKind.APPLY and not wanted.changes:
        raise RequestInvalid("changes: missing; name at least one knob and its value")


def _parsed(body: bytes) -> IntentRequest:
    try:
        return IntentRequest.model_validate_json(body)
    except ValidationError as invalid:
        raise in_words(invalid) from invalid


def _number(request: web.Request, name: str, default: int | None, most: int | None) -> int | None:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < 1 or (most is not None and int(text) > most):
        allowed = "from 1" if most is None else f"from 1 to {most}"
        raise RequestInvalid(f"{name}={text!r}: write a whole number {allowed}")
    return int(text)


def _answer(message: BaseModel) -> web.Response:
    return web.json_response(text=message.model_dump_json())


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _last_line(work: asyncio.Task[Handled]) -> bytes:
    """The result, or the error in its place: the status line has been sent already."""
    error = work.exception()
    if error is None:
        return _line({"event": "result", **result_view(work.result()).model_dump(mode="json")})
    assert isinstance(error, Exception)
    return _line({"event": "fault", **told(error)[1]})
