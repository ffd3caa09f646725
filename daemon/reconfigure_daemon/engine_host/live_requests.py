"""Every request that lives in the engine, with all that is needed to bring it into another core."""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from reconfigure_policies.domain.workload import ITL_BUCKETS_S, FinishReason, IterationTotals, RequestRecord

RECORDS_KEPT = 20_000  # about 4 MB; the controller reads every second


@dataclass(slots=True, eq=False)
class LiveRequest:
    """One request as vLLM's front end submitted it, and what has come out of it so far.

    Attributes:
        request: the `EngineCoreRequest`.
        core: the id of the core that runs it now.
        number: of its arrival, from 0.
        replica: that runs it within the core.
        generated: every output token that was handed to the front end.
        replays: how often it was moved.
        moved_s: last output before the latest move, until the first output after it; else None.
        deaths: cores that died with it since its latest output.
    """

    request: Any
    core: int
    arrived_s: float
    number: int = 0
    replica: int = 0
    generated: list[int] = field(default_factory=list)
    first_output_s: float | None = None
    last_output_s: float | None = None
    longest_gap_s: float = 0.0
    cached_prompt_tokens: int = 0
    replays: int = 0
    moved_s: float | None = None
    deaths: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt; 0 for a prompt given as embeddings only."""
        return len(self.request.prompt_token_ids or ())

    @property
    def tokens(self) -> int:
        """Length of the prompt and of what was generated so far."""
        return self.prompt_tokens + len(self.generated)


class Ledger:
    """The live requests by id, counters since the host began, and records of the finished ones."""

    def __init__(self) -> None:
        self._live: dict[str, LiveRequest] = {}
        self._records: deque[RequestRecord] = deque(maxlen=RECORDS_KEPT)
        self._stalls: list[float] = []
        self._itl_counts = [0] * (len(ITL_BUCKETS_S) + 1)
        self._waiters: list[asyncio.Future[None]] = []
        self._gauges = (0, 0, 0.0)  # running, waiting, share of KV blocks in use
        self.finished = self.arrived = self.iterations = self.preemptions = self.lost = 0
        self.prompt_tokens = self.cached_prompt_tokens = self.output_tokens = 0

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[LiveRequest]:
        return iter(list(self._live.values()))

    def get(self, request_id: str) -> LiveRequest | None:
        """The live request of this id, if it lives."""
        return self._live.get(request_id)

    def admit(self, request: Any, core: int, replicas: int = 1) -> LiveRequest:
        """Take a request in, for the replica that has the fewest; a further chunk of a session keeps its entry."""
        known = self._live.get(request.request_id)
        if known is not None:
            return known
        replica = self._idlest(core, replicas) if replicas > 1 else 0
        live = LiveRequest(request, core, time.monotonic(), self.arrived, replica)
        self._live[request.request_id] = live
        self.arrived += 1
        self.prompt_tokens += live.prompt_tokens
        return live

    def _idlest(self, core: int, replicas: int) -> int:
        held = Counter(live.replica for live in self._live.values() if live.core == core)
        return min(range(replicas), key=lambda replica: held[replica])

    def take(self, outputs: Iterable[Any], core: int) -> list[Any]:
        """Note the outputs of a core; returns those that belong to requests it runs."""
        now_s = time.monotonic()
        self.iterations += 1
        kept = []
        for output in outputs:
            live = self._live.get(output.request_id)
            if live is None or live.core != core:
                continue  # aborted meanwhile, or an echo of a core it was moved away from
            kept.append(output)
            self._note(live, output, now_s)
        self._wake()
        return kept

    def _note(self, live: LiveRequest, output: Any, now_s: float) -> None:
        if output.new_token_ids:
            live.generated.extend(output.new_token_ids)
            self.output_tokens += len(output.new_token_ids)
        self._note_gap(live, now_s)
        prefill = getattr(output, "prefill_stats", None)
        if prefill is not None:
            live.cached_prompt_tokens = getattr(prefill, "num_cached_tokens", 0)
            self.cached_prompt_tokens += live.cached_prompt_tokens
        if output.finish_reason is not None:
            self._finish(live, FinishReason(_FINISH_NAMES.get(int(output.finish_reason), "error")), now_s)

    def _note_gap(self, live: LiveRequest, now_s: float) -> None:
        if live.last_output_s is None:
            live.first_output_s = now_s
        else:
            gap_s = now_s - live.last_output_s
            self._itl_counts[bisect_left(ITL_BUCKETS_S, gap_s)] += 1
            live.longest_gap_s = max(live.longest_gap_s, gap_s)
        if live.moved_s is not None:
            if live.last_output_s is not None:  # a stream that had begun
                self._stalls.append(now_s - live.moved_s)
            live.moved_s = None
        live.last_output_s, live.deaths = now_s, 0

    def finish(self, request_id: str, reason: FinishReason) -> LiveRequest | None:
        """End a request that the front end gave up, or that could not be saved."""
        live = self._live.get(request_id)
        if live is not None:
            self._finish(live, reason, time.monotonic())
            self._wake()
        return live

    async def until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on the live requests holds; False if it does not in time."""
        limit_s = time.monotonic() + timeout_s
        while not holds():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiter, max(0.0, limit_s - time.monotonic()))
            if time.monotonic() >= limit_s:
                return holds()
        return True

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _finish(self, live: LiveRequest, reason: FinishReason, now_s: float) -> None:
        del self._live[live.request.request_id]
        self.finished += 1
        if reason is FinishReason.ERROR:
            self.lost += 1
        ttft_s = None if live.first_output_s is None else live.first_output_s - live.arrived_s
        self._records.append(
            RequestRecord(
                live.arrived_s,
                ttft_s,
                now_s - live.arrived_s,
                live.prompt_tokens,
                live.cached_prompt_tokens,
                len(live.generated),
                live.longest_gap_s,
                reason,
                live.replays,
            )
        )

    def note_scheduler(self, stats: Any) -> None:
        """Take the gauges out of a core's scheduler statistics, whose fields vLLM declares unstable."""
        self._gauges = (
            int(getattr(stats, "num_running_reqs", 0)),
            int(getattr(stats, "num_waiting_reqs", 0)),
            float(getattr(stats, "kv_cache_usage", 0.0)),
        )
        prefix = getattr(stats, "prefix_cache_stats", None)
        self.preemptions += int(getattr(prefix, "preempted_requests", 0) or 0)

    def collect_stalls(self) -> list[float]:
        """Seconds that each moved stream stood still, since the last call."""
        stalls, self._stalls = self._stalls, []
        return stalls

    def records_after(self, sequence: int) -> tuple[list[RequestRecord], int, int]:
        """Records that finished after a sequence number, the next number, and how many were overwritten."""
        oldest = self.finished - len(self._records)
        skip = max(0, sequence - oldest)
        return list(self._records)[skip:], self.finished, max(0, oldest - sequence)

    def totals(self) -> IterationTotals:
        """Counters and gauges now."""
        running, waiting, kv_cache_usage = self._gauges if self._live else (0, 0, 0.0)
        return IterationTotals(
            at_s=time.monotonic(), iterations=self.iterations, prompt_tokens=self.prompt_tokens,
            cached_prompt_tokens=self.cached_prompt_tokens, output_tokens=self.output_tokens, arrived=self.arrived,
            finished=self.finished, preemptions=self.preemptions, running=running, waiting=waiting,
            kv_cache_usage=kv_cache_usage, itl_s_histogram=tuple(self._itl_counts),
        )  # fmt: skip


_FINISH_NAMES = {0: "stop", 1: "length", 2: "abort", 3: "error", 4: "stop"}  # vLLM's order; 4 is "repetition"
