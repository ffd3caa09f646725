"""A request as the emulated scheduler knows it: lengths and times, no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from reconfigure_policies.domain.workload import FinishReason, RequestRecord


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request to come.

    Attributes:
        id: the caller's name for it, unique among live requests.
        at_s: when it arrives.
        prompt_tokens: at least 1.
        output_tokens: how many it will generate, at least 1.
        blocks: hashes of its full prompt blocks, each standing for its whole prefix; empty if nothing is shared.
        block_tokens: length of such a block.
        finish_reason: `length` or `stop`: how it ends once all tokens are there.
    """

    id: str
    at_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: Sequence[int] = ()
    block_tokens: int = 16
    finish_reason: FinishReason = FinishReason.LENGTH

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError(
                f"request {self.id}: {self.prompt_tokens} prompt and {self.output_tokens} output tokens; "
                "both must be at least 1"
            )


@dataclass(frozen=True, slots=True)
class Completion:
    """A request that ended, with everything that was seen of it."""

    id: str
    record: RequestRecord


@dataclass(slots=True, eq=False)
class LiveRequest:
    """Progress of an arrival.

    Attributes:
        admitted: whether it has a place in the running batch.
        cached_tokens: prompt tokens taken from the prefix cache.
        computed_tokens: prompt tokens in the KV cache.
        first_step: number of the step that gave its first output token; every later step gives one more.
        first_token_s: when that step ended.
        last_token_s, longest_gap_s: when the scheduler that it was moved from gave it its last output token, and the
            longest gap between two tokens there; unknown to the scheduler that it is moved to.
        replays: how many times it was moved to another core.
        ended: finished or aborted; queues forget it lazily.
    """

    arrival: Arrival
    admitted: bool = False
    cached_tokens: int = 0
    computed_tokens: int = 0
    first_step: int | None = None
    first_token_s: float | None = None
    last_token_s: float = -inf
    longest_gap_s: float = 0.0
    replays: int = 0
    ended: bool = False

    def generated_tokens(self, step: int) -> int:
        """Output tokens after this many steps of the engine."""
        if self.first_step is None:
            return 0
        return min(step - self.first_step + 1, self.arrival.output_tokens)

    def held_tokens(self, step: int) -> int:
        """KV cache that it fills after this many steps of the engine, once it is admitted."""
        return self.computed_tokens + self.generated_tokens(step)

    def count_replay(self) -> None:
        """It is moved to another core, which has to compute anew what it has."""
        self.replays += self.computed_tokens > 0

    @property
    def reserved_tokens(self) -> int:
        """KV cache that it will have filled when it ends."""
        return self.arrival.prompt_tokens + self.arrival.output_tokens

    @property
    def missing_tokens(self) -> int:
        """Prompt tokens still to compute."""
        return self.arrival.prompt_tokens - self.computed_tokens

    @property
    def last_step(self) -> int:
        """The step that gives the last output token; known once the first is there."""
        assert self.first_step is not None
        return self.first_step + self.arrival.output_tokens - 1

    def record(self, now_s: float, step: int, longest_gap_s: float, reason: FinishReason) -> RequestRecord:
        """What is told of a request that ends now."""
        first_s = self.first_token_s
        return RequestRecord(
            arrived_s=self.arrival.at_s,
            ttft_s=None if first_s is None else first_s - self.arrival.at_s,
            e2e_latency_s=now_s - self.arrival.at_s,
            prompt_tokens=self.arrival.prompt_tokens,
            cached_prompt_tokens=self.cached_tokens,
            output_tokens=self.generated_tokens(step),
            longest_gap_s=longest_gap_s,
            finish_reason=reason,
            replays=self.replays,
        )
