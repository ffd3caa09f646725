"""Load to measure an engine under: whole answers of exact lengths, at a rate or as many at once as it is given.

Answers are not streamed. A stream of events costs client and front end more than the tokens in it, and what is to be
measured here is the engine; its own records tell when each token came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from reconfigure_daemon.clock import Clock, SystemClock
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.prompts import PromptSource
from reconfigure_daemon.load_generation.target import Target

_DETAIL_CHARACTERS = 300


@dataclass(slots=True)
class LoadTally:
    """What became of the requests so far; those that are cut off at the end of a load are in none but `sent`.

    Attributes:
        sent, completed, failed: requests.
        fault: what happened to the latest one that failed; "" without any.
    """

    sent: int = 0
    completed: int = 0
    failed: int = 0
    fault: str = ""

    @property
    def unserved(self) -> bool:
        """Whether some have failed, and none was completed."""
        return self.failed > 0 and not self.completed


@asynccontextmanager
async def offered_load(
    requests: Iterable[PlannedRequest], target: Target, *, concurrency: int | None = None, clock: Clock | None = None
) -> AsyncIterator[LoadTally]:
    """Keep a server under load while the block runs; at its end connections are closed, which aborts what still runs.

    Args:
        requests: may be endless. Each leaves when it is due (open loop), unless `concurrency` is given.
        target: the server.
        concurrency: keep exactly this many in the server and go by no due time (closed loop).
        clock: the machine's, unless given.
    """
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    headers = {"Content-Type": "application/json", **target.headers}
    timeout = aiohttp.ClientTimeout(total=target.timeout_s)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        load = _Load(session, target, clock or SystemClock())
        sending = asyncio.create_task(
            load.open_loop(requests) if concurrency is None else load.closed_loop(requests, concurrency)
        )
        try:
            yield load.tally
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


class _Load:
    def __init__(self, session: aiohttp.ClientSession, target: Target, clock: Clock) -> None:
        self.tally = LoadTally()
        self._session = session
        self._target = target
        self._clock = clock
        self._prompts = PromptSource(target.vocab_size, target.seed)

    async def open_loop(self, requests: Iterable[PlannedRequest]) -> None:
        origin_s = self._clock.monotonic()
        async with asyncio.TaskGroup() as running:
            for request in requests:
                body = self._body(request)
                await self._clock.sleep(max(0.0, origin_s + request.due_s - self._clock.monotonic()))
                running.create_task(self._complete(body))

    async def closed_loop(self, requests: Iterable[PlannedRequest], concurrency: int) -> None:
        source = iter(requests)
        async with asyncio.TaskGroup() as running:
            for _ in range(concurrency):
                running.create_task(self._one_after_another(source))

    async def _one_after_another(self, source: Iterator[PlannedRequest]) -> None:
        for request in source:
            await self._complete(self._body(request))
            if self.tally.unserved:
                await self._clock.sleep(0.1)  # a server that refuses everything is not asked in a tight circle

    async def _complete(self, body: bytes) -> None:
        self.tally.sent += 1
        try:
            async with self._session.post(f"{self._target.url}/v1/completions", data=body) as response:
                text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            self._failed(f"{type(fault).__name__}: {fault}")
            return
        if response.status == HTTPStatus.OK:
            self.tally.completed += 1
        else:
            self._failed(f"HTTP {response.status}: {text[:_DETAIL_CHARACTERS].decode(errors='replace')}")

    def _failed(self, fault: str) -> None:
        self.tally.failed += 1
        self.tally.fault = fault[:_DETAIL_CHARACTERS]

    def _body(self, request: PlannedRequest) -> bytes:
        fields = {
            "model": self._target.model,
            "prompt": self._prompts.tokens(request),
            "max_tokens": request.output_tokens,
            "min_tokens": request.output_tokens,
            "ignore_eos": True,
            "temperature": self._target.temperature,
        }
        return json.dumps(fields, separators=(",", ":")).encode()
