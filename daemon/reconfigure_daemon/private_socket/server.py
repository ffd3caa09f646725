"""Serves any `EngineHost` on the private socket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from reconfigure_daemon.errors import EngineHostFault, ReconfigureError, RequestInvalid
from reconfigure_daemon.ports import MOST_PROFILED_S, EngineHost, Message, SwitchProgress, SwitchReport, SwitchRequest
from reconfigure_daemon.private_socket.faults import fault_to_json
from reconfigure_daemon.private_socket.listener import file_id, listen
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace, KnobValue

MAX_BODY_BYTES = 1024 * 1024

#: How long an answer that is being written may take once the host has ended.
_SHUTDOWN_TIMEOUT_S = 5.0

_T = TypeVar("_T")
_KNOBS = TypeAdapter(dict[str, KnobValue])

log = logging.getLogger(__name__)


class StopRequest(Message):
    """The body of `POST /v1/stop`."""

    drain_timeout_s: float = Field(ge=0)


class ProfileRequest(Message):
    """The body of `POST /v1/profile`."""

    seconds: float = Field(gt=0, le=MOST_PROFILED_S)


async def serve(host: EngineHost, path: Path, routes: Iterable[web.AbstractRouteDef] = ()) -> web.AppRunner:
    """Answer for `host` on a Unix socket at `path`, until `cleanup()` of the runner that is returned.

    Args:
        host: whatever has the port's methods.
        path: see `listener.listen`, whose errors this raises.
        routes: what a host offers beyond the port, e.g. an emulation's energy.
    """
    listener = listen(path)
    application = _application(host, routes)
    application.on_cleanup.append(_removal(path))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner


def _application(host: EngineHost, routes: Iterable[web.AbstractRouteDef]) -> web.Application:
    endpoints = _Endpoints(host)
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_faults_as_json])
    application.add_routes(
        [
            web.get("/v1/state", endpoints.state),
            web.post("/v1/knobs", endpoints.knobs),
            web.post("/v1/switch", endpoints.switch),
            web.get("/v1/telemetry", endpoints.telemetry),
            web.post("/v1/profile", endpoints.profile),
            web.post("/v1/stop", endpoints.stop),
            *routes,
        ]
    )
    return application


class _Endpoints:
    """One method per path of the contract."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host
        self._switches: set[asyncio.Task[SwitchReport]] = set()  # asyncio alone would not keep them alive

    async def state(self, _: web.Request) -> web.Response:
        return _answer(await self._host.state())

    async def knobs(self, request: web.Request) -> web.Response:
        changes = _parsed(_KNOBS, await request.read())
        return _answer(await self._host.set_knobs(changes))

    async def telemetry(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdigit()):
            raise RequestInvalid(f"after={after!r} is not a sequence number; give the last answer's next_after, or 0")
        return _answer(await self._host.telemetry(int(after)))

    async def profile(self, request: web.Request) -> web.Response:
        wanted = _parsed(TypeAdapter(ProfileRequest), await request.read())
        return _answer(await self._host.profile(wanted.seconds))

    async def stop(self, request: web.Request) -> web.Response:
        wanted = _parsed(TypeAdapter(StopRequest), await request.read())
        await self._host.stop(wanted.drain_timeout_s)
        return web.json_response({})

    async def switch(self, request: web.Request) -> web.StreamResponse:
        """Relays progress line by line; a fault before the first line still has its own HTTP status."""
        wanted = _parsed(TypeAdapter(SwitchRequest), await request.read())
        progress: asyncio.Queue[SwitchProgress | None] = asyncio.Queue()
        # A task of its own: a controller that goes away in the middle neither breaks nor undoes a switch.
        task = asyncio.create_task(self._host.switch(wanted, progress.put_nowait))
        self._switches.add(task)
        task.add_done_callback(self._ended)
        task.add_done_callback(lambda _: progress.put_nowait(None))
        first = await progress.get()
        if first is None and not task.cancelled() and (error := task.exception()):
            raise error
        return await _relay(request, first, progress, task)

    def _ended(self, task: asyncio.Task[SwitchReport]) -> None:
        self._switches.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.debug("a switch was not carried out: %s", error)  # read here, or asyncio warns when nobody waits for it


async def _relay(
    request: web.Request,
    first: SwitchProgress | None,
    progress: asyncio.Queue[SwitchProgress | None],
    task: asyncio.Task[SwitchReport],
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    step = first
    try:
        await response.prepare(request)
        while step is not None:
            await response.write(_line(step))
            step = await progress.get()
        await response.write(await _last_line(task))
        await response.write_eof()
    except ConnectionError:
        log.warning("the controller left during a switch, which goes on")
    return response


async def _last_line(task: asyncio.Task[SwitchReport]) -> bytes:
    """The report, or a fault in its place: the status line has already been sent."""
    try:
        return _line(await task)
    except asyncio.CancelledError:
        return _fault_line(EngineHostFault("the engine host stopped before the switch had ended"))
    except Exception as error:  # noqa: BLE001  # whatever the host raises is an answer here
        return _fault_line(_logged(error))


@web.middleware
async def _faults_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
    except web.HTTPException as refusal:
        return _refusal(refusal.status, f"{request.method} {request.path}: {refusal.reason}")
    except Exception as error:  # noqa: BLE001  # whatever the host raises is an answer here
        status, body = fault_to_json(_logged(error))
        return web.json_response(body, status=status)


def _logged(error: Exception) -> Exception:
    if not isinstance(error, ReconfigureError | ConfigurationOutsideSpace):
        log.error("the engine host failed", exc_info=error)
    return error


def _refusal(status: int, message: str) -> web.Response:
    _, body = fault_to_json(RequestInvalid(message))
    return web.json_response(body, status=status)


def _parsed(form: TypeAdapter[_T], text: bytes) -> _T:
    try:
        return form.validate_json(text)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}" for fault in error.errors()]
        raise RequestInvalid("; ".join(faults)) from error


def _answer(message: BaseModel) -> web.Response:
    return web.json_response(text=message.model_dump_json())


def _line(message: BaseModel) -> bytes:
    return message.model_dump_json().encode() + b"\n"


def _fault_line(error: Exception) -> bytes:
    _, body = fault_to_json(error)
    return json.dumps({"event": "fault", **body}).encode() + b"\n"


def _removal(path: Path) -> Callable[[web.Application], Awaitable[None]]:
    """Removes the socket file at the end, unless it is already a successor's."""
    ours = file_id(path)

    async def remove(_: web.Application) -> None:
        if file_id(path) == ours:
            path.unlink()  # noqa: ASYNC240  # one directory entry, and the loop is about to end

    return remove
