"""Speculative decoding on real vLLM, gated by the batch while it runs."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest

from tests.engine.real_host import SPACE, completion, real_host

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

DRAFTED = re.compile(r"^vllm:spec_decode_num_draft_tokens_total\{.*\} (\S+)$", re.MULTILINE)
SPECULATIVE = {
    "block_size": {"values": [32, 64]},
    "max_num_seqs": SPACE["max_num_seqs"],
    "max_num_batched_tokens": SPACE["max_num_batched_tokens"],
    "speculative": {"values": ["none", "ngram:3"], "default": "ngram:3"},
    "speculation_batch_limit": {"values": [0, 1, 16], "default": 16},
}
TOKENS = 160


def repetitive(number: int) -> list[int]:
    """A prompt whose n-grams come back, so that there is something to look up."""
    return [1000 + number * 10 + k % 6 for k in range(60)]


async def drafted(host) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{host.url}/metrics") as answer:
        found = DRAFTED.search(await answer.text())
    return float(found.group(1)) if found else 0.0


async def both(host):
    """The tokens of two greedy streams."""
    answers = await asyncio.gather(*(completion(host, repetitive(i), TOKENS) for i in range(2)))
    return [outputs[0] for outputs, _ in answers]


async def test_drafts_are_verified_up_to_a_batch(tmp_path):
    """The limit moves inside the core, and greedy streams are the same with drafts and without."""
    with real_host(tmp_path, {"kv_cache_memory_bytes": 2**29}, SPECULATIVE) as host:
        assert (await host.state()).enforced["speculative"] == "ngram:3"
        expected = await both(host)
        ungated = await drafted(host)
        assert ungated > 0

        assert (await host.set_knobs(speculation_batch_limit=0)).enforced["speculation_batch_limit"] == 0
        assert await both(host) == expected
        assert await drafted(host) == ungated

        await host.set_knobs(speculation_batch_limit=1)
        alone, _ = await completion(host, repetitive(0), TOKENS)
        assert alone[0] == expected[0]
        assert await drafted(host) > ungated
