"""Connections that ask nothing, or never finish asking, end; those that are being answered never do."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.errors import RequestTooSlow, TooManyRequests

#: Connections that stay open at once; beyond, those that have been idle for longest are closed first.
MOST_CONNECTIONS = 128

#: Requests that are answered at once; each may hold a body of `MAX_BODY_BYTES`.
MOST_REQUESTS = 64

#: A connection may take this long to send its first request's head, and a request to send its body.
PATIENCE_S = 10.0

#: A connection that has asked before may stay idle for this long: longer than most scrape intervals.
KEEP_ALIVE_S = 75.0

_SWEEP_INTERVAL_S = 1.0


class Connection(Protocol):
    """What is needed of aiohttp's `RequestHandler`."""

    def force_close(self) -> None:
        """Close it now."""


class ConnectionLimits:
    """Knows which connections are being answered, and closes others that have had their time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answering: set[object] = set()
        self._asked: set[object] = set()
        self._idle_since_s: dict[object, float] = {}

    def guard(self) -> Middleware:
        """The middleware that takes note of requests; it belongs within those that refuse strangers."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if len(self._answering) >= MOST_REQUESTS:
                raise TooManyRequests(f"{MOST_REQUESTS} requests are being answered already; try again in a moment")
            with self._answered(request.protocol):
                return await handler(request)

        return guard

    def sweep(self, connections: Iterable[Connection]) -> None:
        """Look at the connections that are open now, and close those whose time is over."""
        now_s, there = self._clock.monotonic(), list(connections)
        idle = [connection for connection in there if connection not in self._answering]
        self._idle_since_s = {connection: self._idle_since_s.get(connection, now_s) for connection in idle}
        self._asked.intersection_update(there)
        surplus = max(0, len(there) - MOST_CONNECTIONS)
        for place, connection in enumerate(sorted(idle, key=self._idle_since_s.__getitem__)):
            patience_s = KEEP_ALIVE_S if connection in self._asked else PATIENCE_S
            if place < surplus or now_s - self._idle_since_s[connection] >= patience_s:
                connection.force_close()

    async def kept(self, runner: web.AppRunner) -> AsyncIterator[None]:
        """For `cleanup_ctx`: sweeps while the application runs."""
        sweeping = asyncio.create_task(self._keep(runner))
        yield
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)

    async def _keep(self, runner: web.AppRunner) -> None:
        while True:
            await self._clock.sleep(_SWEEP_INTERVAL_S)
            if runner.server is not None:
                self.sweep(runner.server.connections)

    @contextmanager
    def _answered(self, connection: object) -> Iterator[None]:
        self._answering.add(connection)
        self._asked.add(connection)
        try:
            yield
        finally:
            self._answering.discard(connection)
            self._idle_since_s[connection] = self._clock.monotonic()


def allow_many_connections() -> None:
    """Raise the limit of open files as far as the system allows, so that a flood does not take the last ones."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def body_of(request: web.Request) -> bytes:
    """A request's body, which must come while there is patience.

    Raises:
        RequestTooSlow: if it does not.
    """
    with _patience_with(request):
        async with asyncio.timeout(PATIENCE_S):
            return await request.read()


async def lines_of(request: web.Request) -> AsyncIterator[bytes]:
    """A long body line by line; there is patience anew for each of them.

    Raises:
        RequestTooSlow: if one does not come.
    """
    with _patience_with(request):
        while True:
            async with asyncio.timeout(PATIENCE_S):
                line = await request.content.readline()
            if not line:
                return
            yield line


@contextmanager
def _patience_with(request: web.Request) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        what = f"the body of {request.method} {request.path}"
        raise RequestTooSlow(f"{what} did not arrive within {PATIENCE_S:g} s; send it at once") from None
