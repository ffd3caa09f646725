"""Embeddings on real vLLM: a request that has no tokens to continue from is computed again, whole."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import pytest_asyncio

from tests.engine.real_host import MODEL, prompt_of, real_host

pytestmark = [pytest.mark.engine, pytest.mark.timeout(420)]

#: The small model's last hidden state as an embedding; prompts long enough to be under way when the core changes.
POOLING = {"runner": "pooling", "convert": "embed"}
REQUESTS, PROMPT_TOKENS = 8, 1000


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    with real_host(tmp_path_factory.mktemp("embedder"), POOLING) as running:
        yield running


async def embeddings(host, count=REQUESTS, length=PROMPT_TOKENS):
    """One vector for each of several prompts, asked for all at once."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def one(number: int) -> list[float]:
            body = {"model": MODEL, "input": prompt_of(number, length)}
            async with session.post(f"{host.url}/v1/embeddings", json=body) as answer:
                return (await answer.json())["data"][0]["embedding"]

        return await asyncio.gather(*(one(number) for number in range(count)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def expected(embedder):
    """What comes without a switch."""
    return await embeddings(embedder)


@pytest.mark.parametrize("mode", ["overlapped", "sequential"])
async def test_embeddings_are_the_same_across_a_switch(embedder, expected, mode):
    """Those that were under way arrive from the new core, each the vector that it would have been."""
    asking = asyncio.create_task(embeddings(embedder))
    await asyncio.sleep(0.5)
    report = await embedder.switch(block_size=await embedder.other_block_size(), mode=mode)
    assert report.outcome == "applied", report.detail
    if mode == "sequential":  # an overlapped boot may outlast them
        assert report.live_requests > 0
    for found, wanted in zip(await asking, expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-3)
    assert (await embedder.state()).lost_requests == 0
