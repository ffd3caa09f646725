"""Two replicas of the model in one core, on real vLLM: streams spread, come through a death, and are as ever."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import psutil
import pytest

from tests.engine.real_host import SPACE, completion, prompt_of, real_host, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

TOKENS, STREAMS = 60, 4


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    """A host that begins with two replicas; on a machine without GPUs both compute on the same processors."""
    space = {**SPACE, "data_parallel_size": {"values": [1, 2], "default": 2}}
    with real_host(tmp_path_factory.mktemp("replicated"), space=space) as running:
        yield running


async def streams(host):
    found = await asyncio.gather(*(completion(host, prompt_of(i), TOKENS) for i in range(STREAMS)))
    return [outputs[0] for outputs, _ in found]


async def begun(host):
    async def all_run() -> bool:
        return (await host.telemetry()).totals.running == STREAMS

    await until(all_run)


async def worked(cores):
    """Whether each of these has computed for a while since this was called."""
    spent_s = [_spent_s(core) for core in cores]

    async def all_have() -> bool:
        return all(_spent_s(core) > before_s + 0.3 for core, before_s in zip(cores, spent_s, strict=True))

    await until(all_have)


def _spent_s(core):
    times = [each.cpu_times() for each in [core, *core.children(recursive=True)]]
    return sum(each.user + each.system for each in times)


async def test_streams_come_through_the_death_of_a_replica_and_move_to_one_and_back(replicated):
    """Every stream is token by token what it was undisturbed, and nothing of cores that have gone is left."""
    undisturbed = await streams(replicated)
    await replicated.set_knobs(pacing_interval_s=0.3)

    running = asyncio.create_task(streams(replicated))
    await begun(replicated)
    assert await gauges(replicated, "num_requests_running") == [("0", STREAMS)]
    batch, before = await replicated.telemetry(), (await replicated.state()).deployment
    assert (batch.replicas, batch.totals.running) == (2, STREAMS)
    replicas = replicated.cores()
    assert len(replicas) == 2
    await worked(replicas)
    replicas[1].kill()
    assert await running == undisturbed
    state = await replicated.state()
    assert (state.phase, state.core_restarts, state.deployment.id) == ("serving", 1, before.id + 1)
    assert not any(psutil.pid_exists(pid) for pid in before.pids)
    assert len(replicated.cores()) == 2

    assert (await replicated.set_knobs(max_num_seqs=1)).enforced["max_num_seqs"] == 1
    running = asyncio.create_task(streams(replicated))
    await until(lambda: _run_and_wait(replicated, 2, STREAMS - 2))
    await replicated.set_knobs(max_num_seqs=16)
    await begun(replicated)
    assert await running == undisturbed

    moving = []

    def begin_streams(progress):
        """Once the target has booted, so that they are not over before it has."""
        if progress.phase == "warm_up" and not moving:
            moving.append(asyncio.create_task(streams(replicated)))

    alone = await replicated.switch(begin_streams, data_parallel_size=1, mode="overlapped")
    assert (alone.outcome, alone.enforced["data_parallel_size"]) == ("applied", 1), alone.detail
    assert (alone.live_requests, alone.inexact_requests) == (STREAMS, 0)
    assert await moving[0] == undisturbed
    assert not any(psutil.pid_exists(pid) for pid in state.deployment.pids)
    assert len(replicated.cores()) == (await replicated.telemetry()).replicas == 1

    running = asyncio.create_task(streams(replicated))
    await begun(replicated)
    back = await replicated.switch(data_parallel_size=2, mode="sequential")
    assert (back.outcome, back.enforced["data_parallel_size"]) == ("applied", 2), back.detail
    assert (back.live_requests, back.inexact_requests) == (STREAMS, 0)
    await worked(replicated.cores())
    assert await running == undisturbed


async def gauges(host, name):
    """What vLLM's own metrics say, by engine."""
    async with aiohttp.ClientSession() as session, session.get(f"{host.url}/metrics") as answer:
        told = await answer.text()
    return [(engine, float(value)) for engine, value in re.findall(rf'vllm:{name}{{engine="(\d+)",.*}} (\S+)', told)]


async def _run_and_wait(host, running, waiting):
    totals = (await host.telemetry()).totals
    return (totals.running, totals.waiting) == (running, waiting)
