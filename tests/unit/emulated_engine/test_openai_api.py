"""Clients speak to the emulated engine as they would to vLLM."""

from __future__ import annotations

import asyncio

import aiohttp
import openai
import pytest

from reconfigure_daemon.emulated_engine import tokens
from tests.unit.emulated_engine.conftest import serving


@pytest.fixture
async def client(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def session(url):
    async with aiohttp.ClientSession(url) as session:
        yield session


FORCED = {"ignore_eos": True, "return_token_ids": True}


async def test_a_completion_has_the_length_that_was_forced(client):
    """Token ids in, exactly `max_tokens` ids out, and the usage says so; the same answer every time."""
    answers = [
        await client.completions.create(model="emulated", prompt=[5, 6, 7], max_tokens=30, extra_body=FORCED)
        for _ in range(2)
    ]
    assert [answer.usage.completion_tokens for answer in answers] == [30, 30]
    assert answers[0].usage.prompt_tokens == 3
    assert answers[0].choices[0].finish_reason == "length"
    seed = tokens.seed_of([5, 6, 7])
    assert answers[0].choices[0].token_ids == [tokens.answer_token(seed, i) for i in range(30)]
    assert answers[0].choices[0].text == answers[1].choices[0].text


async def test_a_stream_is_the_same_answer_in_pieces(client):
    """Events join to the whole text; the last one with a choice tells the reason, the one after it the usage."""
    whole = await client.completions.create(model="emulated", prompt="one two", max_tokens=20, extra_body=FORCED)
    stream = await client.completions.create(
        model="emulated",
        prompt="one two",
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
        extra_body=FORCED,
    )
    *events, usage = [event async for event in stream]
    assert "".join(event.choices[0].text for event in events) == whole.choices[0].text
    assert [event.choices[0].finish_reason for event in events] == [None] * (len(events) - 1) + ["length"]
    assert events[0].choices[0].prompt_token_ids == tokens.encode("one two")
    assert (usage.choices, usage.usage.completion_tokens) == ([], 20)


async def test_chat_streams_and_does_not(client):
    """Both ways give the same words; an answer that ends by itself ends with `stop`."""
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ]
    whole = await client.chat.completions.create(model="emulated", messages=messages)
    stream = await client.chat.completions.create(model="emulated", messages=messages, stream=True)
    events = [event async for event in stream]
    assert "".join(event.choices[0].delta.content for event in events) == whole.choices[0].message.content
    assert events[0].choices[0].delta.role == "assistant"
    assert whole.choices[0].finish_reason == events[-1].choices[0].finish_reason == "stop"
    assert 16 <= whole.usage.completion_tokens <= 256


@pytest.mark.parametrize(("least", "reason"), [(200, "stop"), (300, "length")])
async def test_min_tokens_keeps_an_answer_going(client, least, reason):
    """It does not end by itself before; it still ends at `max_tokens`."""
    prompt = next([n] for n in range(1000) if tokens.natural_length(tokens.seed_of([n])) < 100)
    answer = await client.completions.create(
        model="emulated", prompt=prompt, max_tokens=300, extra_body={"min_tokens": least}
    )
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (least, reason)


async def test_a_prompt_may_come_as_a_list_of_one(client):
    """As OpenAI's clients send it."""
    texts = [
        (await client.completions.create(model="emulated", prompt=prompt)).choices[0].text
        for prompt in ("a b", ["a b"], tokens.encode("a b"), [tokens.encode("a b")])
    ]
    assert len(set(texts)) == 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"prompt": "a", "max_tokens": 0}, 400, "max_tokens"),
        ({"prompt": "a", "max_tokens": 40_000}, 400, "the context holds 32768"),
        ({"prompt": [1] * 32_768}, 400, "the context holds 32768"),
        ({"prompt": ""}, 400, "the prompt is empty"),
        ({"prompt": []}, 400, "the prompt is empty"),
        ({"prompt": ["a", "b"]}, 400, "2 prompts"),
        ({"prompt": "a", "n": 2}, 400, "n: "),
        ({"prompt": "a", "model": "other"}, 404, "serves `emulated`"),
        ({}, 400, "prompt"),
        ([], 400, "the body"),
    ],
)
async def test_a_wrong_request_is_told_as_vllm_tells_it(session, body, status, words):
    """An OpenAI error object that names the field, and the engine is none the worse."""
    async with session.post("/v1/completions", json=body) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (status, status)
        assert words in error["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_its_request(host, session, stream):
    """Streaming or not, the request is aborted and told as such."""
    body = {"prompt": "a", "max_tokens": 30_000, "ignore_eos": True, "stream": stream}
    asking = asyncio.create_task(session.post("/v1/completions", json=body))
    while not host.engine.live_requests:  # noqa: ASYNC110  # the engine has no event for it
        await asyncio.sleep(0.001)
    if stream:
        (await asking).close()
    else:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    while host.engine.live_requests:  # noqa: ASYNC110  # the engine has no event for it
        await asyncio.sleep(0.001)
    (record,) = (await host.telemetry(0)).records
    assert record.finish_reason == "abort"


async def test_a_stopping_engine_turns_requests_away(host, session):
    """They are told to go elsewhere, not left waiting."""
    await host.stop(0.0)
    async with session.post("/v1/completions", json={"prompt": "a"}) as response:
        assert response.status == 503
    async with session.get("/health") as response:
        assert response.status == 503


async def test_a_stop_that_is_out_of_patience_ends_streams_in_order(host, client):
    """What is live after the timeout is ended as aborted, with the tokens that it has."""
    stream = await client.completions.create(
        model="emulated", prompt="a", max_tokens=30_000, stream=True, extra_body=FORCED
    )
    first = await anext(stream)
    await host.stop(0.0)
    *_, last = [event async for event in stream]
    assert first.choices[0].text
    assert last.choices[0].finish_reason == "abort"


async def test_requests_wait_for_the_first_boot():
    """One that comes before the engine is up is answered once it is."""
    async with serving() as host:
        url = (await host.state()).openai_url
        async with aiohttp.ClientSession(url) as session:
            asking = asyncio.create_task(session.post("/v1/completions", json={"prompt": "a"}))
            async with session.get("/health") as response:
                assert response.status == 503
            assert not asking.done()
            await host.boot({})
            async with await asking as response:
                assert response.status == 200


async def test_models_and_metrics(session, client):
    """The model's name and context, and vLLM's counters after some traffic."""
    (model,) = (await client.models.list()).data
    assert (model.id, model.max_model_len) == ("emulated", 32_768)
    await client.completions.create(model="emulated", prompt="a b c", max_tokens=7, extra_body=FORCED)
    async with session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    assert "vllm:prompt_tokens_total 3.0" in lines
    assert "vllm:generation_tokens_total 7.0" in lines
    assert "vllm:num_requests_running 0.0" in lines
