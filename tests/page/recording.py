"""A past for the page to show: an emulated engine under changing load, lived through in virtual time."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_policies.domain.workload import FinishReason
from tests.simulation import controller as simulated


async def _ask(host, number):
    async for _ in host.engine.generate(300 + number * 37 % 900, 60 + number * 53 % 240, (), 16, FinishReason.LENGTH):
        pass


@asynccontextmanager
async def _changing_traffic(launcher, period_s):
    """Between two and eight requests a second, up and down."""
    requests = set()

    async def send():
        number = 0
        while True:
            number += 1
            task = asyncio.create_task(_ask(launcher.host, number))
            requests.add(task)
            task.add_done_callback(requests.discard)
            phase = 2 * math.pi * asyncio.get_running_loop().time() / period_s
            await asyncio.sleep(1 / (5 + 3 * math.sin(phase) + math.sin(7.3 * phase) / 2))

    sender = asyncio.create_task(send())
    try:
        yield
    finally:
        for task in (sender, *requests):
            task.cancel()
        await asyncio.gather(sender, *requests, return_exceptions=True)


def record_past(directory, settings, minutes):
    """Fill a store with `minutes` up to now: a schedule, an operator's changes, a rollback and a boot that fails."""

    async def life():
        emulation = Emulation.model_validate({"faults": [{"when": {"block_size": 64}, "fault": "out_of_memory"}]})
        launcher = simulated.InProcessLauncher(settings, emulation)
        launcher.clock._wall_at_zero = time.time() - 60 * minutes - launcher.clock.monotonic()
        async with simulated.Controller.running(directory, launcher, settings) as controller:
            await controller.serving()
            async with _changing_traffic(launcher, 60 * minutes / 1.6):
                await _events(controller, minutes * 60 / 10)
        await launcher.end()

    in_virtual_time(life())


async def _events(controller, tenth_s):
    await asyncio.sleep(2 * tenth_s)
    await controller.submit("apply", changes={"max_num_seqs": 64})
    await asyncio.sleep(2 * tenth_s)
    await controller.submit("apply", source="api", changes={"block_size": 64})
    await asyncio.sleep(tenth_s)
    await controller.submit("objective", objective="balanced")
    await asyncio.sleep(2 * tenth_s)
    await controller.submit("rollback")
    await asyncio.sleep(3 * tenth_s - 30)
