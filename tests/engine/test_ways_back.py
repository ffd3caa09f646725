"""Targets that do not do, and cores that die, on real vLLM: the streams go on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal

import aiohttp
import psutil
import pytest
import pytest_asyncio

from reconfigure_daemon.engine_host import shared_memory
from reconfigure_daemon.errors import EngineHostFault
from tests.engine.lora import write_random_adapter
from tests.engine.real_host import completion, prompt_of, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


async def streams(host):
    return await asyncio.gather(*(completion(host, prompt_of(i), 250) for i in range(4)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def expected(host):
    """What the streams get of a core that nothing happens to."""
    return await streams(host)


@pytest.mark.parametrize("mode", ["overlapped", "sequential"])
async def test_a_target_without_memory_is_undone(host, expected, mode):
    """vLLM's own last error is in the outcome, the streams end as ever, and the old setting is in force."""
    running = asyncio.create_task(streams(host))
    await asyncio.sleep(1.0)
    report = await host.switch(kv_cache_memory_bytes=2**50, mode=mode)
    assert report.outcome == "rolled_back"
    assert "memory" in report.detail.lower()
    assert report.enforced["kv_cache_memory_bytes"] == 2**29
    assert await running == expected
    state = await host.state()
    assert (state.phase, state.target["kv_cache_memory_bytes"], state.lost_requests) == ("serving", 2**29, 0)


async def test_a_target_that_hangs_is_undone_at_its_deadline(host, expected):
    """Nothing of it is left behind, and the old core has served all along."""
    before = {p.pid for p in host.cores()}
    running = asyncio.create_task(streams(host))

    async def freeze_the_new_core() -> None:
        await until(lambda: asyncio.sleep(0, {p.pid for p in host.cores()} - before), step_s=0.02)
        for pid in {p.pid for p in host.cores()} - before:
            os.kill(pid, signal.SIGSTOP)

    freezing = asyncio.create_task(freeze_the_new_core())
    report = await host.switch(block_size=await host.other_block_size(), deadline_s=6.0)
    await freezing
    assert report.outcome == "rolled_back"
    assert "was not ready after" in report.detail
    assert report.duration_s < 12
    assert await running == expected
    assert {p.pid for p in host.cores()} == before


@pytest.mark.parametrize(("mode", "moment"), [
    ("overlapped", "warm_up"), ("sequential", "warm_up"), ("sequential", "settle"),
])  # fmt: skip
async def test_a_target_that_dies_once_it_has_booted_is_undone(host, expected, mode, moment):
    """Whether it fails at its first request or with its first streams: the old configuration serves them on."""
    await completion(host, prompt_of(0), 4, model="adapter")  # which the target is given before its first request
    state = await host.state()
    before = {p.pid for p in host.cores()}
    target = await host.other_block_size()
    running = asyncio.create_task(streams(host))
    await asyncio.sleep(1.0)
    killed: list[str] = []

    def kill_the_new_core(progress) -> None:
        if not killed and progress.phase == moment:
            killed.append(moment)
            for core in host.cores():
                if core.pid not in before:
                    core.kill()

    report = await host.switch(kill_the_new_core, block_size=target, mode=mode)
    assert killed == [moment]
    assert report.outcome == "rolled_back", report.detail
    assert report.duration_s < 90  # noticed, not waited out
    assert report.enforced["block_size"] == state.enforced["block_size"]
    assert await running == expected
    after = await host.state()
    assert (after.phase, after.target, after.lost_requests) == ("serving", state.target, 0)


async def test_a_core_that_dies_before_it_answers_a_command_holds_up_nothing(host, expected):
    """The command is told so, and the streams come through as they do from any death."""
    running = asyncio.create_task(streams(host))
    await asyncio.sleep(1.0)
    (core,) = host.cores()
    core.suspend()
    setting = asyncio.create_task(host.set_knobs(max_num_seqs=8))
    await asyncio.sleep(0.5)
    core.kill()
    with pytest.raises(EngineHostFault, match="ended before it answered"):
        await setting
    assert await running == expected
    assert (await host.state()).lost_requests == 0
    assert (await host.set_knobs(max_num_seqs=16)).enforced["max_num_seqs"] == 16


@pytest.mark.parametrize("moment", ["serving", "boot", "pre_copy"])
async def test_a_killed_core_costs_its_streams_a_pause(host, expected, moment):
    """Killed while it serves, or while a switch is under way: every stream is complete and unchanged."""
    running = asyncio.create_task(streams(host))
    await asyncio.sleep(1.0)
    state = await host.state()

    def kill(_=None) -> None:
        psutil.Process(state.deployment.pids[0]).kill()

    if moment == "serving":
        kill()
    else:
        killed: list[str] = []
        report = await host.switch(
            lambda p: killed or p.phase != moment or killed.append(p.phase) or kill(),
            block_size=await host.other_block_size(),
        )
        assert killed == [moment]
        assert report.outcome == "applied", report.detail
    assert await running == expected

    async def serves() -> bool:
        return (await host.state()).phase == "serving"

    await until(serves)
    assert (await host.state()).lost_requests == 0


async def test_an_adapter_that_is_gone_holds_up_neither_a_switch_nor_a_recovery(host, tmp_path):
    """VLLM unloads it by name only, and no core is told; a fresh one is not asked for it in vain twice."""
    folder = write_random_adapter(tmp_path / "gone")
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        named = {"lora_name": "gone", "lora_path": str(folder)}
        async with session.post(f"{host.url}/v1/load_lora_adapter", json=named):
            pass
        async with session.post(f"{host.url}/v1/unload_lora_adapter", json={"lora_name": "gone"}):
            pass
    shutil.rmtree(folder)
    state = await host.state()
    (core,) = host.cores()
    rings = shared_memory.held_by([core.pid])
    core.kill()  # before any switch has forgotten the adapter

    await until(lambda: serves_after(host, state))
    assert rings, "a core on a CPU has message rings"
    assert rings.isdisjoint(os.listdir("/dev/shm")), "a killed core left shared memory behind"  # noqa: PTH208
    assert (await host.state()).core_restarts == state.core_restarts + 1
    await completion(host, prompt_of(0), 4, model="adapter")
    report = await host.switch(block_size=await host.other_block_size())
    assert report.outcome == "applied", report.detail


async def test_a_request_that_claims_to_come_from_another_core_is_an_ordinary_one(host):
    """What a client sends beside vLLM's own arguments ends no core."""
    state = await host.state()
    expected = await completion(host, prompt_of(0), 8)
    for claim in (5, "x", [1, 2]):
        assert await completion(host, prompt_of(0), 8, vllm_xargs={"reconfigure_generated": claim}) == expected
    after = await host.state()
    assert (after.core_restarts, after.lost_requests) == (state.core_restarts, state.lost_requests)


async def test_a_request_that_three_cores_die_with_gets_vllms_error_and_the_others_go_on(host):
    """Here an innocent one: it waits behind a stream, and gets no token before the third death."""
    expected = await completion(host, prompt_of(0), 400)
    lost = (await host.state()).lost_requests
    await host.set_knobs(max_num_seqs=1)
    stream = asyncio.create_task(completion(host, prompt_of(0), 400))
    await until(lambda: holds(host, 1))
    waiting = asyncio.create_task(completion(host, prompt_of(1), 4, stream=False))
    await until(lambda: holds(host, 2))
    for _ in range(3):
        state = await host.state()
        psutil.Process(state.deployment.pids[0]).kill()
        await until(lambda before=state: serves_after(host, before))
        await asyncio.sleep(1.0)  # the stream has gone on
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await waiting
    assert refused.value.status == 500
    assert await stream == expected
    assert (await host.state()).lost_requests == lost + 1
    await host.set_knobs(max_num_seqs=16)


async def holds(host, requests) -> bool:
    return (await host.state()).live_requests == requests


async def serves_after(host, before) -> bool:
    state = await host.state()
    return state.phase == "serving" and state.deployment.id > before.deployment.id
