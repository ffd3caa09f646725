"""Prompts of an exact length, as token ids: the same for the same seed, shared exactly where the trace shares them."""

from __future__ import annotations

import random
from array import array
from functools import lru_cache

from reconfigure_daemon.load_generation.plan import PlannedRequest

#: Ids below this are left alone where the vocabulary allows: special and control tokens live there.
FIRST_PLAIN_TOKEN = 1000

#: Blocks kept ready: conversations come back to their prefix within this many.
_CACHED_BLOCKS = 4096


class PromptSource:
    """Makes prompts from random tokens of the vocabulary.

    Blocks of the trace become the same tokens wherever their id appears. Whatever no block covers is of the request
    alone, so that a prefix cache gains nothing that the trace did not have. A second replay with the same seed sends
    the same prompts, and a server that still caches the first one's will find them.
    """

    def __init__(self, vocab_size: int, seed: int) -> None:
        """Use ids from `FIRST_PLAIN_TOKEN`, or from the middle of a vocabulary too small for that, to its end."""
        self._first = min(FIRST_PLAIN_TOKEN, vocab_size // 2)
        self._span = vocab_size - self._first
        self._seed = seed
        self._block = lru_cache(maxsize=_CACHED_BLOCKS)(self._make_block)

    def tokens(self, request: PlannedRequest) -> list[int]:
        """The prompt of a request: exactly `prompt_tokens` ids."""
        prompt: list[int] = []
        for block in request.blocks:
            prompt.extend(self._block(block, request.block_tokens))
        own = request.prompt_tokens - len(prompt)
        if own > 0:
            prompt.extend(self._random_tokens(f"request {request.index}", own))
        return prompt[: request.prompt_tokens]

    def _make_block(self, block: int, length: int) -> array[int]:
        return array("I", self._random_tokens(f"block {block}", length))

    def _random_tokens(self, name: str, length: int) -> list[int]:
        draws = random.Random(f"{self._seed} {name}")  # noqa: S311 - prompts that can be made again, not a secret
        words = memoryview(draws.randbytes(4 * length)).cast("I")
        return [self._first + word % self._span for word in words]
