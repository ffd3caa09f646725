"""The governor in a real daemon, over an emulated engine host in a process of its own."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

SLOW = {"prompt": "word " * 100, "model": "emulated", "max_tokens": 60, "ignore_eos": True}


@pytest.fixture
def governed(config):
    config["space"]["max_num_seqs"] = {"values": [64, 128, 256], "default": 256}
    config["space"]["pacing_interval_s"] = {"values": [0, 0.02, 0.04]}
    config["objectives"] = {"energy": {}}
    config |= {"start_objective": "energy", "slo": {"ttft_s": 1, "tpot_s": 0.05}, "governor": {"enabled": True}}
    config["metering"]["interval_s"] = 1
    return config


async def _send(session, rate_rps):
    """Requests at even distances until cancelled."""

    async def ask():
        async with session.post("/v1/completions", json=SLOW) as answer:
            await answer.read()

    async with asyncio.TaskGroup() as requests:
        while True:
            requests.create_task(ask())
            await asyncio.sleep(1 / rate_rps)


def pace_s(status):
    return (status["enforced"] or {}).get("pacing_interval_s")


async def test_it_slows_down_at_low_load_and_gives_back_on_a_burst(governed, start_daemon):
    """From the start to a slower pace, and from the first second of a burst back, each stored with its reason."""
    daemon = await start_daemon()
    await daemon.serving()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{governed['engine']['port']}") as session:
        usual = asyncio.create_task(_send(session, 4))
        slowed = await daemon.until(lambda status: (pace_s(status) or 0) > 0)
        assert slowed["governor"]["active"]
        assert slowed["governor"]["energy_source"] == "estimated"
        burst = asyncio.create_task(_send(session, 60))
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await daemon.until(lambda status: pace_s(status) == 0)
        assert loop.time() - began_s < 4
        for traffic in (usual, burst):
            traffic.cancel()
        await asyncio.gather(usual, burst, return_exceptions=True)
    _, history = await daemon.get("/v1/decisions")
    given_back, slower = history["decisions"][:2]
    assert (given_back["source"], given_back["outcome"]["kind"], slower["outcome"]["kind"]) == (
        "daemon",
        "applied",
        "applied",
    )
    assert "requests/s arrive where" in given_back["reason"]
    assert "it should cost" in slower["reason"]
