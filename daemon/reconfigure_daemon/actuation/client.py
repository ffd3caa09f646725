"""Commands an engine host through its private socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from reconfigure_daemon.errors import EngineHostFault, EngineHostUnreachable
from reconfigure_daemon.ports import (
    HostState,
    HotResult,
    ProfileTraces,
    SwitchProgress,
    SwitchReport,
    SwitchRequest,
    TelemetryBatch,
)
from reconfigure_daemon.private_socket import fault_from_json
from reconfigure_policies.domain.configuration import KnobValue

_Answer = TypeVar("_Answer", bound=BaseModel)

#: A host that does not take a connection or answer within these is as good as gone.
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 30.0

#: Beyond what a command was given for its work: writing the answer, ending processes.
GRACE_S = 60.0
PROFILE_WRITING_TIMEOUT_S = 600.0


class PrivateSocketClient:
    """An `EngineHost` that lives in another process. Its errors are the host's own, by class and facts."""

    def __init__(self, path: Path, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.path = path
        self._answer_timeout_s = answer_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def state(self) -> HostState:
        """See `EngineHost.state`."""
        return _parsed(HostState, await self._exchange("GET", "/v1/state", None, self._answer_timeout_s))

    async def set_knobs(self, changes: Mapping[str, KnobValue]) -> HotResult:
        """See `EngineHost.set_knobs`."""
        return _parsed(HotResult, await self._exchange("POST", "/v1/knobs", dict(changes), self._answer_timeout_s))

    async def telemetry(self, after: int) -> TelemetryBatch:
        """See `EngineHost.telemetry`."""
        path = f"/v1/telemetry?after={after}"
        return _parsed(TelemetryBatch, await self._exchange("GET", path, None, self._answer_timeout_s))

    async def profile(self, seconds: float) -> ProfileTraces:
        """See `EngineHost.profile`. Traces of many layers take long to be written down."""
        timeout_s = seconds + PROFILE_WRITING_TIMEOUT_S
        return _parsed(ProfileTraces, await self._exchange("POST", "/v1/profile", {"seconds": seconds}, timeout_s))

    async def stop(self, drain_timeout_s: float) -> None:
        """See `EngineHost.stop`. A host that ends without a last word has stopped too."""
        try:
            body = {"drain_timeout_s": drain_timeout_s}
            await self._exchange("POST", "/v1/stop", body, drain_timeout_s + GRACE_S)
        except EngineHostUnreachable as error:
            if isinstance(error.__cause__, aiohttp.ClientConnectorError | TimeoutError):
                raise

    async def switch(
        self, request: SwitchRequest, on_progress: Callable[[SwitchProgress], None] | None = None
    ) -> SwitchReport:
        """See `EngineHost.switch`. Undoing a switch may take as long again as its deadline."""
        timeout_s = 2 * request.deadline_s + GRACE_S
        async with self._request("POST", "/v1/switch", request.model_dump(mode="json"), timeout_s) as answer:
            async for line in answer.content:
                event = _event(line)
                if isinstance(event, SwitchReport):
                    return event
                if on_progress is not None:
                    on_progress(event)
        raise EngineHostUnreachable(
            f"the engine host went away during a switch; `reconfigure status` reads its state back from {self.path}"
        )

    async def close(self) -> None:
        """Give up the connection; the host lives on."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(self, method: str, path: str, body: object, timeout_s: float) -> bytes:
        async with self._request(method, path, body, timeout_s) as answer:
            return await answer.read()

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: object, timeout_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request; a fault is raised as the exception that it was in the host."""
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)
        url = f"http://engine-host{path}"
        with _silence_as_unreachable(self.path, f"{method} {path}", timeout_s):
            async with self._open_session().request(method, url, json=body, timeout=timeout) as answer:
                if answer.status >= 400:
                    raise fault_from_json(_json(await answer.read()))
                yield answer

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A connection each time: on a Unix socket it costs microseconds, and none is left over from a dead host.
            connector = aiohttp.UnixConnector(str(self.path), force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


@contextmanager
def _silence_as_unreachable(path: Path, command: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise EngineHostUnreachable(
            f"no engine host answers on {path} ({error.os_error.strerror}); `reconfigure serve` starts one"
        ) from error
    except aiohttp.ClientError as error:
        raise EngineHostUnreachable(f"the engine host on {path} went away during {command}: {error}") from error
    except TimeoutError as error:
        raise EngineHostUnreachable(
            f"the engine host on {path} did not answer {command} within {timeout_s:g} s"
        ) from error


def _event(line: bytes) -> SwitchProgress | SwitchReport:
    """One line of a switch.

    Raises:
        Exception: the host's own, if the switch ended in one.
    """
    content = _json(line)
    match content.get("event"):
        case "progress":
            return _parsed(SwitchProgress, line)
        case "report":
            return _parsed(SwitchReport, line)
        case _:
            raise fault_from_json(content)


def _json(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise EngineHostFault(f"the engine host answered with something that is no JSON object: {text[:200]!r}")
    return content


def _parsed(form: type[_Answer], text: bytes) -> _Answer:
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise EngineHostFault(
            f"the engine host's {form.__name__} is not understood ({faults}); restart it with this version"
        ) from error
