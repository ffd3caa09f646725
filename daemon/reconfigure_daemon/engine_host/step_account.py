"""Sums over the steps of a core, for a step-cost model; lives inside an EngineCore process beside its scheduler.

Two calls per step, one where the scheduler hands out a batch and one where it takes the result, cost about 5 us
together. With asynchronous scheduling a batch is handed out while the one before it still runs, so a step is taken to
begin when the one before it ends.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from operator import add
from typing import Any

from reconfigure_policies.domain.steps import StepMoments, StepTotals, step_products

#: A shorter pause before a step is the core's own loop and part of the step's cost, not a rest of the device.
SHORTEST_REST_S = 0.001


class StepAccount:
    """Every step of one core. Times are on the monotonic clock."""

    def __init__(self) -> None:
        self._decode_only = StepMoments().products
        self._with_prefill = StepMoments().products
        self._back_to_back_steps = 0
        self._back_to_back_prefill_tokens = 0.0
        self._last_end_s = float("-inf")
        self._in_flight: deque[tuple[Any, float, int, int, float]] = deque()

    def begin(self, scheduled: Any, begun_s: float, kv_tokens: float) -> None:
        """A batch goes to the workers.

        Args:
            scheduled: vLLM's `SchedulerOutput`; one that schedules nothing is passed over.
            begun_s: when its scheduling began, after any pacing wait.
            kv_tokens: context of the requests that decode.
        """
        if scheduled.total_num_scheduled_tokens:
            self._in_flight.append((scheduled, begun_s, *_load(scheduled), kv_tokens))

    def end(self, scheduled: Any, ended_s: float) -> None:
        """The result of a batch is there; an empty one, or one whose begin was not seen, is passed over."""
        if not scheduled.total_num_scheduled_tokens:
            return  # with asynchronous scheduling it may end while a real one is in flight
        while self._in_flight:
            known, begun_s, prefill_tokens, decode_batch, kv_tokens = self._in_flight.popleft()
            if known is scheduled:
                self._add(begun_s, ended_s, prefill_tokens, decode_batch, kv_tokens)
                return

    def totals(self, kv_capacity_tokens: float) -> dict[str, Any]:
        """A `StepTotals` as plain values, as a utility call returns it."""
        return asdict(
            StepTotals(
                StepMoments(self._decode_only),
                StepMoments(self._with_prefill),
                self._back_to_back_steps,
                self._back_to_back_prefill_tokens,
                kv_capacity_tokens,
            )
        )

    def _add(self, begun_s: float, ended_s: float, prefill_tokens: int, decode_batch: int, kv_tokens: float) -> None:
        if begun_s - self._last_end_s < SHORTEST_REST_S:
            begun_s = self._last_end_s
            self._back_to_back_steps += 1
            self._back_to_back_prefill_tokens += prefill_tokens
        self._last_end_s = ended_s
        products = step_products(prefill_tokens, decode_batch, kv_tokens, ended_s - begun_s)
        if prefill_tokens:
            self._with_prefill = tuple(map(add, self._with_prefill, products))
        else:
            self._decode_only = tuple(map(add, self._decode_only, products))


def _load(scheduled: Any) -> tuple[int, int]:
    """`(prefill tokens, decode batch)`: a request with one token decodes, drafted tokens of speculation aside."""
    drafts = scheduled.scheduled_spec_decode_tokens
    drafted_tokens = len(drafts) + sum(map(len, drafts.values())) if drafts else 0
    single = list(scheduled.num_scheduled_tokens.values()).count(1)
    return scheduled.total_num_scheduled_tokens - single - drafted_tokens, single + len(drafts)
