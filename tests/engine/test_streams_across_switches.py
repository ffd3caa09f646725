"""What a client sees of a switch, on real vLLM: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re

import aiohttp
import psutil
import pytest
from openai import AsyncOpenAI

from reconfigure_daemon.engine_host import shared_memory
from tests.engine.real_host import MODEL, completion, prompt_of, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

TOKENS = 220  # they outlive an overlapped boot beside them
REGEX = "([0-9]{3} ){200}"
#: Requests whose state must survive a switch, each by what is special about it.
REQUESTS = {
    "greedy": {},
    "greedy, not streamed": {"stream": False},
    "log probabilities": {"logprobs": 3, "stream": False},
    "seeded sampling": {"temperature": 0.9, "seed": 7},
    "seeded sampling with top-p": {"temperature": 1.1, "top_p": 0.9, "seed": 8},
    "presence penalty": {"presence_penalty": 1.2},
    "frequency penalty": {"frequency_penalty": 0.8},
    "repetition penalty": {"repetition_penalty": 1.2},
    "bad words": {"bad_words": [" the", " of"]},
    "several answers": {"n": 2, "temperature": 0.8, "seed": 3},
    "minimum length": {"ignore_eos": False, "min_tokens": TOKENS - 10},
    "a stop string that never comes": {"stop": ["qzqzqz"]},
    "a grammar": {"structured_outputs": {"regex": REGEX}, "ignore_eos": False},
}


async def run_all(host):
    requests = enumerate(REQUESTS.values())
    return await asyncio.gather(*(completion(host, prompt_of(i), TOKENS, **fields) for i, fields in requests))


async def run_all_across(host, mode):
    streams = asyncio.create_task(run_all(host))
    await asyncio.sleep(2.0)  # let them begin
    report = await host.switch(block_size=await host.other_block_size(), mode=mode)
    assert report.outcome == "applied", report.detail
    assert report.live_requests >= len(REQUESTS), "the streams were over before they could be moved"
    return await streams


async def test_every_kind_of_request_goes_on_where_it_stood(host):
    """Overlapped or sequential: nothing is cut short, and what a batch does not change, a switch does not."""
    expected, again = await run_all(host), await run_all(host)
    overlapped = await run_all_across(host, "overlapped")
    sequential = await run_all_across(host, "sequential")
    for name, *runs in zip(REQUESTS, expected, again, overlapped, sequential, strict=True):
        assert [reasons for _, reasons in runs[1:]] == [runs[0][1]] * 3, name
        lengths = [sum(map(len, outputs.values())) for outputs, _ in runs]
        assert lengths == [lengths[0]] * 4, name
    stable = [i for i, (one, other) in enumerate(zip(expected, again, strict=True)) if one == other]
    for run in (overlapped, sequential):
        differing = [name for i, name in enumerate(REQUESTS) if i in stable and run[i] != expected[i]]
        assert len(differing) <= 1, differing  # a near-tie that another batch decides otherwise


async def test_a_grammar_holds_across_a_switch(host):
    """A structured answer that was begun before the switch and ended after it still matches its grammar."""
    grammar = "([0-9]{2} ){90}"
    body = {"model": MODEL, "prompt": prompt_of(1), "max_tokens": 1000, "structured_outputs": {"regex": grammar}}

    async def ask() -> dict[str, str]:
        async with aiohttp.ClientSession() as session, session.post(f"{host.url}/v1/completions", json=body) as answer:
            return (await answer.json())["choices"][0]

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.5)
    report = await host.switch(block_size=await host.other_block_size(), mode="sequential")
    assert report.live_requests == 1
    choice = await asking
    assert choice["finish_reason"] == "stop"
    assert re.fullmatch(grammar, choice["text"])


async def test_an_adapter_goes_along(host):
    """It is loaded in the new core before its requests come, and they go on with it.

    They run alone: vLLM 0.32 on CPU lets an adapter change what other requests of its batch get.
    """

    async def ask():
        return await asyncio.gather(*(completion(host, prompt_of(i), 120, model="adapter") for i in range(2)))

    expected, plain = await ask(), await completion(host, prompt_of(0), 20)
    asking = asyncio.create_task(ask())
    await asyncio.sleep(1.0)
    report = await host.switch(block_size=await host.other_block_size(), mode="sequential")
    assert report.live_requests == 2
    assert await asking == expected
    assert plain[0][0] != expected[0][0][0][:20]


async def test_chat_and_responses_streams_end_as_without_a_switch(host):
    """The two newer APIs keep their event structure: one beginning, one end, the whole text."""
    client = AsyncOpenAI(base_url=f"{host.url}/v1", api_key="none", max_retries=0)

    async def chat() -> tuple[str, str]:
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Tell a long story."}], stream=True, temperature=0,
            max_tokens=300, extra_body={"ignore_eos": True},
        )  # fmt: skip
        chunks = [chunk.choices[0] async for chunk in stream if chunk.choices]
        return "".join(c.delta.content or "" for c in chunks), str(chunks[-1].finish_reason)

    async def response() -> tuple[str, str]:
        stream = await client.responses.create(
            model=MODEL, input="Tell a long story.", stream=True, temperature=0, max_output_tokens=300,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        events = [event async for event in stream]
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        return text, events[-1].type

    expected = await asyncio.gather(chat(), response())
    asking = asyncio.gather(chat(), response())
    await asyncio.sleep(1.0)
    report = await host.switch(block_size=await host.other_block_size())
    assert report.live_requests == 2
    assert await asking == expected
    await client.close()


async def test_a_retired_core_leaves_no_descriptor_behind(host):
    """There and back again, and the host holds no more than it held, whenever Python's garbage collector comes by."""
    process = psutil.Process(host.process.pid)
    await asyncio.sleep(4.0)  # cores that other tests have retired are released in the background
    before = process.num_fds()
    for _ in range(2):
        assert (await host.switch(block_size=await host.other_block_size(), mode="sequential")).outcome == "applied"
    await until(lambda: asyncio.sleep(0, process.num_fds() <= before), limit_s=20.0)


@pytest.mark.parametrize("mode", ["overlapped", "sequential"])
async def test_a_retired_core_leaves_no_shared_memory_behind(host, mode):
    """Whether it had the time to give it back or was killed."""
    for _ in range(2):
        (core,) = host.cores()
        before = shared_memory.held_by([core.pid])
        assert before, "a core on a CPU has message rings"
        assert (await host.switch(block_size=await host.other_block_size(), mode=mode)).outcome == "applied"
        assert before.isdisjoint(os.listdir("/dev/shm"))  # noqa: PTH208


async def test_a_client_that_leaves_in_mid_switch_stays_away(host):
    """Its request is not brought into the new core."""

    async def leave(progress_of_switch: asyncio.Event) -> None:
        body = {"model": MODEL, "prompt": prompt_of(3), "max_tokens": 1500, "ignore_eos": True, "stream": True}
        async with aiohttp.ClientSession() as session, session.post(f"{host.url}/v1/completions", json=body) as answer:
            await answer.content.readline()
            await progress_of_switch.wait()

    booted = asyncio.Event()
    leaving = asyncio.create_task(leave(booted))
    await asyncio.sleep(1.0)
    to = await host.other_block_size()
    report = await host.switch(lambda p: booted.set() if p.phase == "warm_up" else None, block_size=to)
    await leaving
    assert report.live_requests == 0
    assert (await host.state()).live_requests == 0


async def test_garbage_gets_vllms_own_answer(host):
    """The public port is vLLM's own: a malformed body is refused by it and costs nothing."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{host.url}/v1/completions", data=b"{") as answer:
            assert answer.status in {400, 422}
        async with session.post(f"{host.url}/v1/completions", json={"model": "nobody", "prompt": "x"}) as answer:
            assert answer.status == 404
            assert "nobody" in json.dumps(await answer.json())
