"""A switch of the emulated engine keeps the pace that a real one keeps on a GPU."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.harness.virtual_time import LoopClock, in_virtual_time
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.ports import SwitchRequest
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.workload import FinishReason
from tests.unit.emulated_engine.conftest import FAST

PACE_S, BOOT_S = 0.04, 4.0
SPACE = {"pacing_interval_s": {"values": [0, PACE_S]}, "block_size": {"values": [16, 32]}}
SETTINGS = Settings.model_validate({"engine": {"kind": "emulated"}, "space": SPACE})


def test_half_of_the_pace_stays_while_the_new_core_boots():
    """A token comes in half the time that it may take; before and afterwards in all of it."""
    before, booting, afterwards = in_virtual_time(_tokens_per_s())
    assert before == pytest.approx(1 / PACE_S, rel=0.03)
    assert booting == pytest.approx(2 / PACE_S, rel=0.03)
    assert afterwards == pytest.approx(1 / PACE_S, rel=0.03)


async def _tokens_per_s() -> list[float]:
    """Of one stream: before a switch, while the new core boots, and after the switch."""
    host = EmulatedHost(SETTINGS, LoopClock(), Emulation(boot_s=BOOT_S), FAST)
    passing = asyncio.create_task(host.engine.run())
    await host.boot({"pacing_interval_s": PACE_S, "block_size": 16})
    got = [0]
    stream = asyncio.create_task(_stream(host, got))
    await asyncio.sleep(1.0)
    found = [await _rate(got)]
    switch = asyncio.create_task(
        host.switch(SwitchRequest(configuration={"pacing_interval_s": PACE_S, "block_size": 32}))
    )
    await asyncio.sleep(0.5)
    found.append(await _rate(got))
    assert (await switch).outcome == "applied"
    await asyncio.sleep(1.0)
    found.append(await _rate(got))
    for task in (stream, passing):
        task.cancel()
    await asyncio.gather(stream, passing, return_exceptions=True)
    return found


async def _stream(host: EmulatedHost, got: list[int]) -> None:
    async for count in host.engine.generate(10, 10_000, (), 16, FinishReason.LENGTH):
        got[0] = count


async def _rate(got: list[int], seconds: float = 3.0) -> float:
    begun = got[0]
    await asyncio.sleep(seconds)
    return (got[0] - begun) / seconds
