"""What the engine's steps did, summed so that a step-cost model can be fitted exactly without seeing each step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations_with_replacement
from operator import add, sub

#: What is known of a step, in this order: 1, prompt tokens computed, requests that decode, their context, seconds.
STEP_VARIABLES = ("steps", "prefill_tokens", "decode_batch", "kv_tokens", "duration_s")

_PAIRS = tuple(combinations_with_replacement(range(len(STEP_VARIABLES)), 2))
_INDEX = {pair: index for index, pair in enumerate(_PAIRS)}


def step_products(prefill_tokens: float, decode_batch: float, kv_tokens: float, duration_s: float) -> tuple[float, ...]:
    """Products of each two of a step's variables, in the order of `StepMoments.products`.

    Args:
        prefill_tokens: prompt tokens that the step computes.
        decode_batch: requests that get an output token from it beside those that finish their prompt.
        kv_tokens: context in the KV cache that its attention may read.
        duration_s: from its begin, or the end of the step before it if that is later, to its end.
    """
    p, b, k, t = prefill_tokens, decode_batch, kv_tokens, duration_s
    return (1.0, p, b, k, t, p * p, p * b, p * k, p * t, b * b, b * k, b * t, k * k, k * t, t * t)


@dataclass(frozen=True, slots=True)
class StepMoments:
    """Sums over steps of one kind: all that least squares needs of them.

    Attributes:
        products: the sum of `step_products`: the upper triangle, row by row, of a 5 x 5 matrix over `STEP_VARIABLES`.
    """

    products: tuple[float, ...] = (0.0,) * len(_PAIRS)

    def __post_init__(self) -> None:
        if len(self.products) != len(_PAIRS):
            raise ValueError(f"found {len(self.products)} products of step variables; {len(_PAIRS)} are needed")

    def plus(self, products: Iterable[float]) -> StepMoments:
        """With further steps' products added."""
        return StepMoments(tuple(map(add, self.products, products)))

    def since(self, earlier: StepMoments) -> StepMoments:
        """What was added since an earlier reading."""
        return StepMoments(tuple(map(sub, self.products, earlier.products)))

    def of_each(self, engines: int) -> StepMoments:
        """The share of each of some engines, on average."""
        return StepMoments(tuple(product / engines for product in self.products))

    def product(self, first: int, second: int) -> float:
        """Sum over steps of the product of two variables, by their place in `STEP_VARIABLES`."""
        return self.products[_INDEX[min(first, second), max(first, second)]]

    @property
    def steps(self) -> float:
        """How many."""
        return self.products[0]

    @property
    def prefill_tokens(self) -> float:
        """Prompt tokens computed in them."""
        return self.products[1]

    @property
    def decode_tokens(self) -> float:
        """Output tokens of requests that were decoding already."""
        return self.products[2]

    @property
    def kv_tokens(self) -> float:
        """Context, once for each step that held it."""
        return self.products[3]

    @property
    def duration_s(self) -> float:
        """Seconds spent in them."""
        return self.products[4]


@dataclass(frozen=True, slots=True)
class StepTotals:
    """All steps of one core since it booted, of all its replicas; everything but `kv_capacity_tokens` only grows.

    Attributes:
        decode_only: steps in which no prompt was computed.
        with_prefill: the others.
        back_to_back_steps: steps of both kinds that began when the one before them ended.
        back_to_back_prefill_tokens: prompt tokens of those; a GPU that had no rest spends more on them.
        kv_capacity_tokens: context that fits into one replica, a gauge; 0 where it is not known.
    """

    decode_only: StepMoments = StepMoments()
    with_prefill: StepMoments = StepMoments()
    back_to_back_steps: float = 0
    back_to_back_prefill_tokens: float = 0.0
    kv_capacity_tokens: float = 0.0

    def since(self, earlier: StepTotals) -> StepTotals | None:
        """What happened since an earlier reading; None if another core counts now."""
        if self.steps < earlier.steps or self.busy_s < earlier.busy_s:
            return None
        return StepTotals(
            self.decode_only.since(earlier.decode_only),
            self.with_prefill.since(earlier.with_prefill),
            self.back_to_back_steps - earlier.back_to_back_steps,
            self.back_to_back_prefill_tokens - earlier.back_to_back_prefill_tokens,
            self.kv_capacity_tokens,
        )

    def beside(self, other: StepTotals) -> StepTotals:
        """With the steps of another replica in the same core added; what fits is still told of one."""
        return StepTotals(
            self.decode_only.plus(other.decode_only.products),
            self.with_prefill.plus(other.with_prefill.products),
            self.back_to_back_steps + other.back_to_back_steps,
            self.back_to_back_prefill_tokens + other.back_to_back_prefill_tokens,
            self.kv_capacity_tokens,
        )

    def of_each(self, replicas: int) -> StepTotals:
        """The steps of each replica, on average."""
        return StepTotals(
            self.decode_only.of_each(replicas),
            self.with_prefill.of_each(replicas),
            self.back_to_back_steps / replicas,
            self.back_to_back_prefill_tokens / replicas,
            self.kv_capacity_tokens,
        )

    @property
    def steps(self) -> float:
        """Steps of both kinds."""
        return self.decode_only.steps + self.with_prefill.steps

    @property
    def busy_s(self) -> float:
        """Seconds in which a step ran; the rest of the time is idle or waits for the pace."""
        return self.decode_only.duration_s + self.with_prefill.duration_s

    @property
    def prefill_tokens(self) -> float:
        """Prompt tokens computed."""
        return self.decode_only.prefill_tokens + self.with_prefill.prefill_tokens

    @property
    def decode_tokens(self) -> float:
        """Output tokens after each request's first."""
        return self.decode_only.decode_tokens + self.with_prefill.decode_tokens

    @property
    def kv_tokens(self) -> float:
        """Context, once for each step that held it."""
        return self.decode_only.kv_tokens + self.with_prefill.kv_tokens


def steps_of_all(replicas: Iterable[StepTotals]) -> StepTotals:
    """The steps of all replicas of a core together; at least one."""
    return reduce(StepTotals.beside, replicas)
