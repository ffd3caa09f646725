"""Which prompt blocks are still in the KV cache: a set of block hashes that forgets the least recently used."""

from __future__ import annotations

from collections import OrderedDict

from reconfigure_daemon.emulated_engine.requests import Arrival


class PrefixCache:
    """Blocks by hash. A hash must stand for the block and everything before it, as vLLM's do.

    A simplification: blocks of running requests are counted against the scheduler's reservation, not against this
    capacity, so a full engine forgets less than a real one would.
    """

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity_tokens = capacity_tokens
        self._held_tokens = 0
        self._tokens_by_block: OrderedDict[int, int] = OrderedDict()

    def hit_tokens(self, arrival: Arrival) -> int:
        """Prompt tokens in leading blocks that are held; never the whole prompt, as its last token must be computed."""
        hits = 0
        for block in arrival.blocks:
            if block not in self._tokens_by_block:
                break
            self._tokens_by_block.move_to_end(block)
            hits += 1
        return min(hits * arrival.block_tokens, arrival.prompt_tokens - 1)

    def add(self, arrival: Arrival) -> None:
        """Hold the blocks of a prompt that was computed, forgetting others if there are too many."""
        for block in arrival.blocks:
            if block not in self._tokens_by_block:
                self._tokens_by_block[block] = arrival.block_tokens
                self._held_tokens += arrival.block_tokens
            self._tokens_by_block.move_to_end(block)
        while self._held_tokens > self._capacity_tokens:
            _, tokens = self._tokens_by_block.popitem(last=False)
            self._held_tokens -= tokens
