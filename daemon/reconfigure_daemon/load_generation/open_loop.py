"""The open loop: requests leave when the trace says so, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from reconfigure_daemon.clock import Clock, SystemClock
from reconfigure_daemon.load_generation.completion_client import CompletionClient
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import ReplayRun, RequestResult, RequestStatus
from reconfigure_daemon.load_generation.target import Target

#: How often progress is told.
PROGRESS_INTERVAL_S = 0.25


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """A replay under way.

    Attributes:
        elapsed_s: since its start.
        planned, sent, ended: requests.
        failed: ended requests that did not complete.
        late: requests that left late.
        output_tokens: tokens of the ended requests.
        ttft_p50_s: median time to first token of the ended requests, None before the first.
    """

    elapsed_s: float
    planned: int
    sent: int
    ended: int
    failed: int
    late: int
    output_tokens: int
    ttft_p50_s: float | None

    @property
    def running(self) -> int:
        """Requests sent and not ended."""
        return self.sent - self.ended


@dataclass(slots=True)
class _Tally:
    """Running counts, so that telling progress costs the same however long a replay runs."""

    ended: int = 0
    failed: int = 0
    late: int = 0
    output_tokens: int = 0
    ttft_s: list[float] = field(default_factory=list)

    def add(self, result: RequestResult) -> None:
        self.ended += 1
        self.failed += result.status is not RequestStatus.COMPLETED
        self.output_tokens += result.output_tokens
        if result.ttft_s is not None:
            insort(self.ttft_s, result.ttft_s)


async def replay_trace(
    requests: Sequence[PlannedRequest],
    target: Target,
    *,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stop: asyncio.Event | None = None,
    clock: Clock | None = None,
) -> ReplayRun:
    """Send every request when it is due and wait until the last is answered.

    Args:
        requests: in order of `due_s`, from `plan_replay` or made by hand.
        target: the server.
        on_progress: called every `PROGRESS_INTERVAL_S`, and once at the end.
        stop: once set, nothing more is sent, open streams are closed and the run so far is returned.
        clock: the machine's, unless given.

    Returns:
        Every sent request's result, in order of arrival.
    """
    # A connection for each request: reusing one that the server is just closing would look like a lost request.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    headers = {"Content-Type": "application/json", **target.headers}
    timeout = aiohttp.ClientTimeout(total=None)
    clock = clock or SystemClock()
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        loop = _OpenLoop(requests, CompletionClient(session, target, clock), clock)
        return await loop.run(on_progress or (lambda _: None), stop or asyncio.Event())


class _OpenLoop:
    """One replay."""

    def __init__(self, requests: Sequence[PlannedRequest], client: CompletionClient, clock: Clock) -> None:
        self._requests = requests
        self._client = client
        self._clock = clock
        self._results: list[RequestResult] = []
        self._tally = _Tally()
        self._origin_s = 0.0

    async def run(self, on_progress: Callable[[ReplayProgress], None], stop: asyncio.Event) -> ReplayRun:
        started_at = datetime.now(UTC)
        self._origin_s = self._clock.monotonic()
        replay = asyncio.create_task(self._send_all())
        stopped = asyncio.create_task(stop.wait())
        try:
            while not replay.done() and not stopped.done():
                on_progress(self._progress())
                await asyncio.wait({replay, stopped}, timeout=PROGRESS_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted = replay.cancel()
            stopped.cancel()
            outcome, _ = await asyncio.gather(replay, stopped, return_exceptions=True)
        if isinstance(outcome, BaseException) and not interrupted:
            raise outcome
        on_progress(self._progress())
        return ReplayRun(len(self._requests), self._results, started_at, self._elapsed_s(), interrupted)

    async def _send_all(self) -> None:
        async with asyncio.TaskGroup() as streams:
            for request in self._requests:
                body = self._client.body(request)
                await self._clock.sleep(max(0.0, request.due_s - self._elapsed_s()))
                streams.create_task(self._follow(request, body))
                await asyncio.sleep(0)  # it leaves before the next body is made

    async def _follow(self, request: PlannedRequest, body: bytes) -> None:
        result = RequestResult(request, sent_s=self._elapsed_s())
        self._results.append(result)
        self._tally.late += result.late
        await self._client.complete(body, result, self._origin_s)
        self._tally.add(result)

    def _elapsed_s(self) -> float:
        return self._clock.monotonic() - self._origin_s

    def _progress(self) -> ReplayProgress:
        tally = self._tally
        median = tally.ttft_s[len(tally.ttft_s) // 2] if tally.ttft_s else None
        return ReplayProgress(
            self._elapsed_s(),
            len(self._requests),
            len(self._results),
            tally.ended,
            tally.failed,
            tally.late,
            tally.output_tokens,
            median,
        )
