"""Hot knobs on real vLLM: enforced when the call returns, and felt by the requests."""

from __future__ import annotations

import asyncio
import itertools
import time
from statistics import median

import pytest

from reconfigure_policies.domain.steps import STEP_VARIABLES
from tests.engine.real_host import SPACE, completion, prompt_of, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_num_seqs", 4), ("max_num_batched_tokens", 128), ("long_prefill_token_threshold", 64),
     ("pacing_interval_s", 0.3), ("prefix_cache_reading", False)],
)  # fmt: skip
async def test_a_hot_knob_is_enforced_when_the_call_returns(host, name, value):
    """Target and enforced agree at once on an idle engine, and the next reading of the state says the same."""
    before = (await host.state()).enforced[name]
    result = await host.set_knobs(**{name: value})
    assert result.target[name] == result.enforced[name] == value
    assert (await host.state()).enforced[name] == value
    await host.set_knobs(**{name: before})


async def test_a_lowered_cap_drains_and_loses_nothing(host):
    """Requests above the new cap run on; newcomers wait until it holds; all end in full."""
    running = [asyncio.create_task(completion(host, prompt_of(i), 80)) for i in range(6)]
    await asyncio.sleep(1.5)
    await host.set_knobs(max_num_seqs=1)
    late = asyncio.create_task(completion(host, prompt_of(9), 10))
    answers = await asyncio.gather(*running, late)
    assert [len(outputs[0]) for outputs, _ in answers] == [80] * 6 + [10]
    await host.set_knobs(max_num_seqs=16)


async def test_a_knob_that_waited_for_running_requests_is_enforced_when_they_are_gone(host):
    """Clients that hang up leave an engine without steps: its state still says no more than what holds from then on."""
    running = [asyncio.create_task(completion(host, prompt_of(i), 400)) for i in range(6)]
    await until(lambda: _run(host, 6))
    result = await host.set_knobs(max_num_batched_tokens=4)
    assert (result.target["max_num_batched_tokens"], result.enforced["max_num_batched_tokens"]) == (4, 6)
    for request in running:
        request.cancel()
    await until(lambda: _holds(host, 0))
    assert (await host.state()).enforced["max_num_batched_tokens"] == 4
    await host.set_knobs(max_num_batched_tokens=256)


async def _run(host, requests):
    return (await host.telemetry()).totals.running == requests


async def test_pacing_stretches_decode_and_newcomers_neither_wait_for_it_nor_hurry_it(host):
    """Tokens come at the interval, and are the same, whoever arrives; a newcomer's first token does not wait for it."""
    unpaced, _ = await completion(host, prompt_of(1), 13)
    await host.set_knobs(pacing_interval_s=0.3)
    commands = host.commands()
    before = (await commands.telemetry(0)).steps
    paced = asyncio.create_task(completion(host, prompt_of(1), 13))
    begun = time.monotonic()
    newcomers_s = []
    for number in range(2, 12):
        await asyncio.sleep(0.2)
        asked = time.monotonic()
        await completion(host, prompt_of(number), 1)
        newcomers_s.append(time.monotonic() - asked)
    outputs, _ = await paced
    assert time.monotonic() - begun >= 11.5 * 0.3
    assert median(newcomers_s) < 0.3
    with_prefill = (await commands.telemetry(0)).steps.since(before).with_prefill
    await commands.close()
    assert with_prefill.steps >= 10
    decoded_beside_a_prompt = with_prefill.product(0, STEP_VARIABLES.index("decode_batch"))
    assert decoded_beside_a_prompt <= 3  # of the arrivals that found the interval just over
    assert outputs == unpaced
    await host.set_knobs(pacing_interval_s=0)


async def test_what_prompts_keep_the_batch_waiting_is_made_up(host):
    """Among prompts, of which one is computed whenever a stream is due, its tokens still come at the interval.

    The interval is a little more than a prompt takes on the machine at hand. Put off by every prompt, 40 intervals took
    as long as 56 to 61 of them; made up, 41 to 42, one of them for the stream's own prompt. A busy machine only adds to
    that: one of three streams that is in time will do.
    """
    alone_s = [await _seconds(completion(host, _filler(number), 1)) for number in range(20, 26)]
    least_s = 1.3 * median(alone_s)
    interval_s = min((value for value in SPACE["pacing_interval_s"]["values"] if value >= least_s), default=1)
    await host.set_knobs(pacing_interval_s=interval_s)
    stop = asyncio.Event()
    others = asyncio.create_task(_keep_prompting(host, stop))
    intervals = []
    while len(intervals) < 3 and min(intervals, default=99) > 44:
        took_s = await _seconds(completion(host, prompt_of(2 + len(intervals)), 41))
        intervals.append(took_s / interval_s)
    stop.set()
    await others
    await host.set_knobs(pacing_interval_s=0)
    assert 39 <= min(intervals) <= 44


async def _seconds(request):
    begun = time.monotonic()
    await request
    return time.monotonic() - begun


async def _keep_prompting(host, stop):
    for number in itertools.count(100):
        if stop.is_set():
            return
        await completion(host, _filler(number), 1)


def _filler(number):
    return prompt_of(number, 100)


async def test_a_full_engine_is_not_paced_and_prompts_run_beside_its_batch(host):
    """More requests than places: a place that one leaves is filled beside the others, and no interval is waited out."""
    await host.set_knobs(max_num_seqs=4, pacing_interval_s=0.3)
    commands = host.commands()
    before = (await commands.telemetry(0)).steps
    running = [asyncio.create_task(completion(host, prompt_of(40 + i), 20 + 3 * i)) for i in range(4)]
    await until(lambda: _holds(host, 4))
    short = [asyncio.create_task(completion(host, prompt_of(50 + i), 8 + 3 * i)) for i in range(8)]
    begun = time.monotonic()
    await asyncio.wait(short[:4])
    assert time.monotonic() - begun < 50 * 0.3 / 2  # some 50 steps, of which few wait out their interval
    with_prefill = (await commands.telemetry(0)).steps.since(before).with_prefill
    await commands.close()
    await host.set_knobs(max_num_seqs=16, pacing_interval_s=0)
    answers = await asyncio.gather(*running, *short)
    assert [len(outputs[0]) for outputs, _ in answers] == [20 + 3 * i for i in range(4)] + [8 + 3 * i for i in range(8)]
    assert with_prefill.product(0, STEP_VARIABLES.index("decode_batch")) >= 3 * 3


async def test_a_request_that_may_not_read_the_prefix_cache_computes_its_prompt(host):
    """The second identical prompt is found in the cache with reading on, and not with reading off."""
    commands = host.commands()

    async def cached_tokens_of_a_repetition(number: int) -> int:
        prompt = prompt_of(number, 200)
        await completion(host, prompt, 2)
        after = (await commands.telemetry(0)).next_after
        await completion(host, prompt, 2)
        await until(lambda: _finished_after(commands, after))
        return (await commands.telemetry(after)).records[-1].cached_prompt_tokens

    assert await cached_tokens_of_a_repetition(21) >= 128
    await host.set_knobs(prefix_cache_reading=False)
    assert await cached_tokens_of_a_repetition(22) == 0
    await host.set_knobs(prefix_cache_reading=True)
    await commands.close()


async def _finished_after(commands, sequence):
    return (await commands.telemetry(sequence)).records


async def test_a_hot_knob_does_not_wait_for_a_long_step(host):
    """While steps that prefill take their time, a change is enforced in a fraction of one, and it is felt."""
    prompts = [asyncio.create_task(completion(host, prompt_of(30 + i, 1500), 4)) for i in range(3)]
    await until(lambda: _holds(host, 3))
    spent_s = []
    for budget in (128, 256, 128, 256):
        begun = time.monotonic()
        assert (await host.set_knobs(max_num_batched_tokens=budget)).enforced["max_num_batched_tokens"] == budget
        spent_s.append(time.monotonic() - begun)
    assert not any(prompt.done() for prompt in prompts)
    assert min(spent_s) < 0.05
    assert [len(outputs[0]) for outputs, _ in await asyncio.gather(*prompts)] == [4] * 3


async def _holds(host, requests):
    return (await host.state()).live_requests == requests
