"""The other end of the wire: a small OpenAI server that answers well, or badly in a chosen way."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

TRACES = Path(__file__).parents[4] / "shared" / "traces"


class Exchange:
    """One completion request and the answer to it, sent step by step.

    Attributes:
        body: of the request.
        server: which got it.
    """

    def __init__(self, server: OpenAIServer, request: web.Request, body: dict[str, Any]) -> None:
        self.server = server
        self.body = body
        self.response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._request = request

    async def begin(self) -> None:
        await self.response.prepare(self._request)

    async def send(self, event: dict[str, Any] | str) -> None:
        payload = event if isinstance(event, str) else json.dumps(event)
        await self.response.write(f"data: {payload}\n\n".encode())

    async def send_tokens(self, count: int, finish: str | None = None) -> None:
        """`count` tokens, one event each, the last with a finish reason if there is one."""
        for position in range(count):
            choice = {"index": 0, "text": f" {position}", "finish_reason": finish if position == count - 1 else None}
            if self.body.get("return_token_ids"):
                choice["token_ids"] = [position]
            await self.send({"choices": [choice]})

    async def send_usage(self, count: int) -> None:
        await self.send({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": count}})

    async def answer_well(self) -> None:
        await self.begin()
        await self.send_tokens(self.body["max_tokens"], "length")
        await self.send_usage(self.body["max_tokens"])
        await self.send("[DONE]")

    def hang_up(self) -> None:
        assert self._request.transport is not None
        self._request.transport.abort()


Answer = Callable[[Exchange], Awaitable[None]]


class OpenAIServer:
    """Listens on a free port in a thread of its own.

    Attributes:
        bodies: of every completion request, in order of arrival.
        headers: of every completion and status request, in order of arrival.
        answers: what to do with the next requests, in order; afterwards everything is answered well.
        statuses: what `/v1/status` says, one after the other, the last for ever; none: 404.
        models: what `/v1/models` lists.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Answer] = []
        self.statuses: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = [{"id": "small", "max_model_len": 2048}]
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/v1/status", self._status)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _close(self) -> None:
        await asyncio.sleep(0.02)  # whoever is at the door comes in first: asyncio leaks a connection met while closing
        await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        exchange = Exchange(self, request, body)
        await (self.answers.pop(0) if self.answers else Exchange.answer_well)(exchange)
        return exchange.response

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": self.models})

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def _status(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if not self.statuses:
            raise web.HTTPNotFound
        return web.json_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def published_trace() -> Callable[[str], Path]:
    """Finds a publisher's own file, or skips."""

    def find(name: str) -> Path:
        path = TRACES / name
        if not path.exists():
            pytest.skip(f"{path} is not on this machine")
        return path

    return find
