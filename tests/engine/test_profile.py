"""A profile of real vLLM on CPU: its own traces, read and classified."""

from __future__ import annotations

import asyncio

import pytest

from reconfigure_daemon.actuation.profile_reader import read_profiles
from reconfigure_daemon.errors import ActionInProgress, RequestRefused
from tests.engine.real_host import completion, prompt_of, real_host, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


async def test_a_profile_says_what_a_decoding_core_does(tmp_path):
    """Matrix multiplications lead, attention is seen, the shares are the whole; streams go on, and switches wait."""
    with real_host(tmp_path, engine={"profiler": True}) as host:
        streams = [asyncio.create_task(completion(host, prompt_of(i), 120)) for i in range(3)]
        commands = host.commands()
        await until(lambda: _live(host, 3))
        recording = asyncio.create_task(commands.profile(1.5))
        await until(lambda: _records(host))
        with pytest.raises(ActionInProgress, match="a profile has been running"):
            await host.switch(block_size=64)
        traces = await recording
        assert [len(outputs[0]) for outputs, _ in await asyncio.gather(*streams)] == [120] * 3
        await commands.close()
        [found] = await read_profiles(traces.files)
    assert found.device == "CPU"
    assert found.seconds["gemm"] > found.seconds["attention"] > 0
    assert sum(found.seconds.values()) == pytest.approx(found.span_s)
    assert 1.4 < found.span_s < 20
    assert found.top[0].kind == "gemm"


async def _live(host, count):
    return (await host.state()).live_requests == count


async def _records(host):
    action = (await host.state()).action
    return action is not None and action.kind == "profile"


async def test_an_engine_without_a_profiler_says_what_to_set(host):
    """Nothing is recorded, and the remedy is named."""
    commands = host.commands()
    with pytest.raises(RequestRefused, match=r"set engine\.profiler to true"):
        await commands.profile(1)
    await commands.close()
