"""Runs the emulated scheduler in real time and hands its tokens to those who wait for them."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from math import inf
from typing import Any

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.emulated_engine.replicas import EmulatedReplicas
from reconfigure_daemon.emulated_engine.requests import Arrival, Completion
from reconfigure_policies.domain.workload import FinishReason, RequestRecord

#: Records that wait for the controller; older ones are overwritten, and it is told how many.
RECORDS_KEPT = 20_000


class EngineStopping(Exception):
    """The engine takes no new requests."""


class Stream:
    """Output tokens of one request so far; `changed` is set whenever there are more, and at the end."""

    def __init__(self) -> None:
        self.tokens = 0
        self.ended = False
        self.changed = asyncio.Event()

    def note(self, tokens: int, ended: bool) -> None:
        """Take the engine's count."""
        if tokens > self.tokens or ended:
            self.tokens, self.ended = tokens, ended
            self.changed.set()


class LiveEngine:
    """Generates for many at once. `run` must run for time to pass.

    Attributes:
        scheduler: the core, of one replica or more; whoever changes it calls `woken` afterwards.
        door: cleared while new requests must wait outside.
    """

    def __init__(self, scheduler: EmulatedReplicas, clock: Clock) -> None:
        self.scheduler = scheduler
        self.door = asyncio.Event()
        self.door.set()
        self._clock = clock
        self._streams: dict[str, Stream] = {}
        self._ids = itertools.count()
        self._wake = asyncio.Event()
        self._stopping = False
        self._records: deque[RequestRecord] = deque(maxlen=RECORDS_KEPT)
        self._recorded = 0

    @property
    def live_requests(self) -> int:
        """Requests that have not ended."""
        return len(self._streams)

    async def run(self) -> None:
        """Let time pass until cancelled."""
        while True:
            self._wake.clear()
            self.catch_up()
            await self._sleep_until(self.scheduler.next_event_s())

    def catch_up(self) -> None:
        """Bring the scheduler to the present and tell every stream."""
        for completion in self.scheduler.advance(self._clock.monotonic()):
            self._end(completion)
        for request_id, stream in self._streams.items():
            stream.note(self.scheduler.generated_tokens(request_id), ended=False)

    def woken(self) -> None:
        """Look again at what happens next: something was changed from outside."""
        self._wake.set()

    async def generate(
        self, prompt_tokens: int, output_tokens: int, blocks: Sequence[int], block_tokens: int, reason: FinishReason
    ) -> AsyncGenerator[int, None]:
        """Yields the number of output tokens whenever it has grown; the request is aborted if nobody listens on.

        Raises:
            ValueError: if the request can never fit.
            EngineStopping: if no new request is taken.
        """
        arrived_s = self._clock.monotonic()
        await self.door.wait()
        if self._stopping:
            raise EngineStopping
        request_id, stream = str(next(self._ids)), Stream()
        self.scheduler.submit(
            Arrival(request_id, arrived_s, prompt_tokens, output_tokens, blocks, block_tokens, reason)
        )
        self._streams[request_id] = stream
        self.woken()
        try:
            while not stream.ended:
                await stream.changed.wait()
                stream.changed.clear()
                yield stream.tokens
        finally:
            if not stream.ended:
                self._abort(request_id)

    def records_after(self, sequence: int) -> tuple[list[RequestRecord], int, int]:
        """Records since a sequence number, the number to ask from next, and how many were overwritten unread."""
        oldest = self._recorded - len(self._records)
        begin = min(max(sequence, oldest), self._recorded)
        return list(itertools.islice(self._records, begin - oldest, None)), self._recorded, max(0, oldest - sequence)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until no request is live, at most this long; whether that came about."""
        limit_s = self._clock.monotonic() + timeout_s
        while self._streams and self._clock.monotonic() < limit_s:
            await self._clock.sleep(0.01)
        return not self._streams

    def stop(self) -> None:
        """Take no new requests from now on; those at the door are turned away."""
        self._stopping = True
        self.door.set()

    def abort_all(self) -> None:
        """End every live request; its stream ends with what it has."""
        for request_id in list(self._streams):
            self._abort(request_id)

    def _abort(self, request_id: str) -> None:
        completion = self.scheduler.abort(request_id)
        if completion is not None:
            self._end(completion)
            self.woken()

    def _end(self, completion: Completion) -> None:
        stream = self._streams.pop(completion.id)
        stream.note(completion.record.output_tokens, ended=True)
        self._records.append(completion.record)
        self._recorded += 1

    async def _sleep_until(self, time_s: float) -> None:
        """Sleep until a time of the clock, or until woken."""
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(self._wake.wait())}
        if time_s < inf:
            waits.add(asyncio.create_task(self._clock.sleep(max(0.0, time_s - self._clock.monotonic()))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
