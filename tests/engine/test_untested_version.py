"""Drain and restart, the way of every vLLM that is not among the tested versions, on real vLLM."""

from __future__ import annotations

import asyncio

import pytest

from reconfigure_daemon.errors import EngineHostFault
from tests.engine.real_host import completion, prompt_of, real_host, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def untested(tmp_path_factory):
    with real_host(tmp_path_factory.mktemp("untested"), module="tests.engine.untested_version") as running:
        yield running


async def test_it_says_what_it_cannot_do(untested):
    """Every knob is cold, the only way to another configuration is the slow one, and the reason names the version."""
    state = await untested.state()
    assert state.phase == "serving"
    able = state.capabilities
    assert (able.hot_knobs, able.exact_replay, able.switch_modes) == ([], False, ["drain"])
    assert f"vLLM {state.engine_version} is not among the tested versions" in able.reason
    with pytest.raises(EngineHostFault, match="max_num_seqs cannot change inside the running core"):
        await untested.set_knobs(max_num_seqs=4)


async def test_a_switch_drains_restarts_and_loses_nothing(untested):
    """What runs ends on the old core, what comes waits for the new one, and every knob of the target is in force."""
    expected = await asyncio.gather(*(completion(untested, prompt_of(i), 60) for i in range(4)))
    running = [asyncio.create_task(completion(untested, prompt_of(i), 60)) for i in range(3)]
    await until(lambda: _live(untested, 3))
    drains = asyncio.Event()
    switching = asyncio.create_task(
        untested.switch(lambda step: step.phase == "drain" and drains.set(), block_size=64, max_num_seqs=4)
    )
    await drains.wait()
    late = asyncio.create_task(completion(untested, prompt_of(3), 60))
    report = await switching
    assert (report.outcome, report.mode, report.live_requests) == ("applied", "drain", 0)
    assert (report.enforced["block_size"], report.enforced["max_num_seqs"]) == (64, 4)
    assert await asyncio.gather(*running, late) == expected
    assert (await untested.state()).lost_requests == 0


async def test_a_target_that_does_not_boot_is_undone(untested):
    """The old configuration is booted again, and whoever waited is served by it."""
    before = await untested.state()
    asking = asyncio.create_task(completion(untested, prompt_of(5), 40))
    await until(lambda: _live(untested, 1))
    report = await untested.switch(kv_cache_memory_bytes=2**50)
    assert (report.outcome, report.mode) == ("rolled_back", "drain")
    assert "memory" in report.detail.lower()
    outputs, reasons = await asking
    assert (len(outputs[0]), reasons) == (40, ["length"])
    after = await untested.state()
    assert (after.phase, after.enforced, after.lost_requests) == ("serving", before.enforced, 0)


async def _live(host, requests):
    return (await host.state()).live_requests == requests
