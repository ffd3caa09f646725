"""Where emulated requests are: still to come, waiting, in prefill, or decoding."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from math import inf

from reconfigure_daemon.emulated_engine.requests import LiveRequest


class Queues:
    """Requests by stage. One that has ended is dropped when its turn would have come.

    Attributes:
        waiting: arrived and not admitted, first come first served.
        prefilling: admitted, prompt not yet computed, in order of admission.
        decoding: how many generate.
        kv_tokens: context of admitted requests.
        reserved_tokens: context they will have when they end; admission keeps this within what fits, so that nothing
            is ever preempted: a simplification.
    """

    def __init__(self) -> None:
        self.live: dict[str, LiveRequest] = {}
        self.waiting: deque[LiveRequest] = deque()
        self.prefilling: list[LiveRequest] = []
        self.decoding = 0
        self.kv_tokens = 0
        self.reserved_tokens = 0
        self._coming: list[tuple[float, int, LiveRequest]] = []
        self._ending: list[tuple[int, int, LiveRequest]] = []
        self._order = itertools.count()

    @property
    def running(self) -> int:
        """Admitted requests."""
        return self.decoding + len(self.prefilling)

    def add(self, request: LiveRequest) -> None:
        """A request that will arrive."""
        self.live[request.arrival.id] = request
        heapq.heappush(self._coming, (request.arrival.at_s, next(self._order), request))

    def take_over(self, request: LiveRequest, now_s: float, step: int) -> None:
        """A request from other queues, at the stage that it has reached after `step` steps."""
        if not request.admitted and request.arrival.at_s > now_s:
            self.add(request)
            return
        self.live[request.arrival.id] = request
        if not request.admitted:
            self.waiting.append(request)
            return
        self.kv_tokens += request.held_tokens(step)
        self.reserved_tokens += request.reserved_tokens
        if request.first_step is None:
            self.prefilling.append(request)
        else:
            self._decode(request)

    def next_arrival_s(self) -> float:
        """When the next request comes; infinity if none will."""
        while self._coming and self._coming[0][2].ended:
            heapq.heappop(self._coming)
        return self._coming[0][0] if self._coming else inf

    def arrive(self, now_s: float) -> int:
        """Move what has arrived by now into `waiting`; how many that were."""
        before = len(self.waiting)
        while self.next_arrival_s() <= now_s:
            self.waiting.append(heapq.heappop(self._coming)[2])
        return len(self.waiting) - before

    def first_waiting(self) -> LiveRequest | None:
        """Whose turn it is to be admitted."""
        while self.waiting and self.waiting[0].ended:
            self.waiting.popleft()
        return self.waiting[0] if self.waiting else None

    def admit(self, request: LiveRequest, cached_tokens: int) -> None:
        """Start the first of `waiting`."""
        self.waiting.popleft()
        request.admitted = True
        request.cached_tokens = request.computed_tokens = cached_tokens
        self.prefilling.append(request)
        self.kv_tokens += cached_tokens
        self.reserved_tokens += request.reserved_tokens

    def start_decoding(self, request: LiveRequest) -> None:
        """The first token is there."""
        self.prefilling.remove(request)
        self._decode(request)

    def next_end_step(self) -> int | None:
        """The step in which the next decoding request ends; None if none decodes."""
        while self._ending and self._ending[0][2].ended:
            heapq.heappop(self._ending)
        return self._ending[0][0] if self._ending else None

    def first_ending(self) -> LiveRequest:
        """The decoding request that ends first."""
        return self._ending[0][2]

    def remove(self, request: LiveRequest, step: int) -> None:
        """Take out a request that ends after `step` steps, wherever it is."""
        request.ended = True
        del self.live[request.arrival.id]
        if request.first_step is not None:
            self.decoding -= 1
        elif request in self.prefilling:
            self.prefilling.remove(request)
        else:
            return
        self.kv_tokens -= request.held_tokens(step)
        self.reserved_tokens -= request.reserved_tokens

    def _decode(self, request: LiveRequest) -> None:
        self.decoding += 1
        heapq.heappush(self._ending, (request.last_step, next(self._order), request))
