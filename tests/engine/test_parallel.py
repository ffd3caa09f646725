"""A core of several workers, on real vLLM: streams move to it, come through the death of a part of it, and return."""

from __future__ import annotations

import asyncio
import os

import pytest

from reconfigure_daemon.engine_host import shared_memory
from tests.engine.real_host import SPACE, completion, prompt_of, real_host, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

TOKENS, STREAMS = 60, 2


@pytest.fixture(scope="module")
def parallel(tmp_path_factory):
    """The small model has nine attention heads: three workers share them, more than this machine has processors for."""
    space = {**SPACE, "tensor_parallel_size": {"values": [1, 3]}}
    with real_host(tmp_path_factory.mktemp("parallel"), space=space) as running:
        yield running


async def lengths(host):
    """How many tokens each stream got."""
    found = await asyncio.gather(*(completion(host, prompt_of(i), TOKENS) for i in range(STREAMS)))
    return [len(outputs[0]) for outputs, _ in found]


async def begun(host):
    async def all_live() -> bool:
        return (await host.state()).live_requests == STREAMS

    await until(all_live)


def workers(host):
    """Processes of cores beside the cores' own."""
    found = (each for core in host.cores() for each in core.children(recursive=True))
    return [each for each in found if "Worker" in " ".join(each.cmdline())]


def held(host):
    """Names of the shared memory of its cores."""
    return shared_memory.held_by(core.pid for core in host.cores())


async def test_streams_move_to_three_workers_through_the_death_of_one_and_back(parallel):
    """Every token comes, and nothing of a core that has gone is left."""
    running = asyncio.create_task(lengths(parallel))
    await begun(parallel)
    there = await parallel.switch(tensor_parallel_size=3, mode="sequential")
    assert there.outcome == "applied", there.detail
    assert (there.enforced["tensor_parallel_size"], there.live_requests) == (3, STREAMS)
    assert len(workers(parallel)) == 3

    first = (await parallel.state()).deployment.id
    shared = held(parallel)
    workers(parallel)[1].kill()
    assert await running == [TOKENS] * STREAMS
    state = await parallel.state()
    assert (state.phase, state.core_restarts, state.deployment.id) == ("serving", 1, first + 1)
    shared |= held(parallel)
    assert {name.partition("_")[0] for name in shared} == {"psm", "vllm"}

    running = asyncio.create_task(lengths(parallel))
    await begun(parallel)
    back = await parallel.switch(tensor_parallel_size=1, mode="overlapped")
    assert back.outcome == "applied", back.detail
    assert back.enforced["tensor_parallel_size"] == 1
    assert await running == [TOKENS] * STREAMS
    assert len(parallel.cores()) == 1
    assert shared.isdisjoint(os.listdir("/dev/shm"))  # noqa: PTH208
    assert (await parallel.state()).lost_requests == 0
