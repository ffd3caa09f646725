"""Two replicas of the model in one core, on real vLLM: streams spread, come through a death, and are as ever."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from tests.engine.real_host import SPACE, completion, prompt_of, real_host, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

TOKENS, STREAMS = 80, 4


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    """A host whose core may have a second replica; on this machine both compute on the same processors."""
    space = {**SPACE, "data_parallel_size": {"values": [1, 2]}}
    with real_host(tmp_path_factory.mktemp("replicated"), space=space) as running:
        yield running


async def streams(host):
    found = await asyncio.gather(*(completion(host, prompt_of(i), TOKENS) for i in range(STREAMS)))
    return [outputs[0] for outputs, _ in found]


async def begun(host):
    async def all_run() -> bool:
        return (await telemetry(host)).totals.running == STREAMS

    await until(all_run)


async def telemetry(host):
    commands = host.commands()
    batch = await commands.telemetry(0)
    await commands.close()
    return batch


async def worked(cores):
    """Whether each of these has computed for a while since this was called."""
    spent_s = [_spent_s(core) for core in cores]

    async def all_have() -> bool:
        return all(_spent_s(core) > before_s + 0.3 for core, before_s in zip(cores, spent_s, strict=True))

    await until(all_have)


def _spent_s(core):
    times = [each.cpu_times() for each in [core, *core.children(recursive=True)]]
    return sum(each.user + each.system for each in times)


async def test_streams_move_to_two_replicas_through_the_death_of_one_and_back(replicated):
    """Every stream is token by token what it was on one replica, and nothing of cores that have gone is left."""
    alone = await streams(replicated)
    await replicated.set_knobs(pacing_interval_s=0.3)

    running = asyncio.create_task(streams(replicated))
    await begun(replicated)
    there = await replicated.switch(data_parallel_size=2, mode="sequential")
    assert there.outcome == "applied", there.detail
    assert (there.enforced["data_parallel_size"], there.live_requests, there.inexact_requests) == (2, STREAMS, 0)
    replicas = replicated.cores()
    assert len(replicas) == 2
    await worked(replicas)
    batch = await telemetry(replicated)
    assert (batch.replicas, batch.totals.running) == (2, STREAMS)

    before = (await replicated.state()).deployment
    replicas[1].kill()
    assert await running == alone
    state = await replicated.state()
    assert (state.phase, state.core_restarts, state.deployment.id) == ("serving", 1, before.id + 1)
    assert not any(psutil.pid_exists(pid) for pid in before.pids)
    assert len(replicated.cores()) == 2

    assert (await replicated.set_knobs(max_num_seqs=1)).enforced["max_num_seqs"] == 1
    running = asyncio.create_task(streams(replicated))
    await until(lambda: _run_and_wait(replicated, 2, STREAMS - 2))
    await replicated.set_knobs(max_num_seqs=16)
    await begun(replicated)
    back = await replicated.switch(data_parallel_size=1, mode="overlapped")
    assert back.outcome == "applied", back.detail
    assert (back.live_requests, back.inexact_requests) == (STREAMS, 0)
    assert await running == alone
    assert len(replicated.cores()) == 1
    assert (await telemetry(replicated)).replicas == 1
    assert not any(psutil.pid_exists(pid) for pid in state.deployment.pids)


async def _run_and_wait(host, running, waiting):
    totals = (await telemetry(host)).totals
    return (totals.running, totals.waiting) == (running, waiting)
