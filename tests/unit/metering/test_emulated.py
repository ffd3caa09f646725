"""The emulated engine's joules, from a host behind a real private socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from aiohttp import web

from reconfigure_daemon import private_socket
from reconfigure_daemon.metering import build_emulated_meter
from reconfigure_policies.domain.energy import EnergySource


class Host:
    """Counts joules as an emulated engine host does; the rest of the port is not asked for."""

    energy_j = 700.0

    async def energy(self, _):
        device = {"device": "gpu0", "source": "estimated", "energy_j": self.energy_j, "power_w": None}
        return web.json_response({"at_s": 1.0, "devices": [device]})


@asynccontextmanager
async def answering(path):
    host = Host()
    runner = await private_socket.serve(host, path, [web.get("/v1/energy", host.energy)])
    try:
        yield host
    finally:
        await runner.cleanup()


async def test_it_counts_from_its_first_reading_and_is_an_estimate(tmp_path):
    """What the model spent earlier is not this controller's; watts come from the joules between two readings."""
    seconds = iter([10.0, 12.0])
    meter = build_emulated_meter(tmp_path / "s", lambda: next(seconds))
    async with answering(tmp_path / "s") as host:
        first = await asyncio.to_thread(meter.read)
        host.energy_j += 500
        second = await asyncio.to_thread(meter.read)
    assert (first.energy_j, first.source) == (0, EnergySource.ESTIMATED)
    assert (second.energy_j, second.devices[0].power_w) == (500, 250)
    assert "not measured" in meter.notices[0]


async def test_without_an_answer_joules_are_unknown_and_later_made_up_for(tmp_path):
    """No host, then one that is silent for a while: never an exception, and nothing that it spent is lost."""
    meter = build_emulated_meter(tmp_path / "s")
    assert meter.read().source is EnergySource.UNKNOWN
    async with answering(tmp_path / "s") as host:
        await asyncio.to_thread(meter.read)
        host.energy_j += 40
        path = tmp_path / "s"
        path.rename(tmp_path / "away")
        assert (await asyncio.to_thread(meter.read)).source is EnergySource.UNKNOWN
        (tmp_path / "away").rename(path)
        assert (await asyncio.to_thread(meter.read)).energy_j == 40


async def test_a_fresh_host_starts_a_count_of_its_own(tmp_path):
    """A counter that went back is unknown once; the sum never decreases."""
    meter = build_emulated_meter(tmp_path / "s")
    async with answering(tmp_path / "s") as host:
        await asyncio.to_thread(meter.read)
        host.energy_j = 5.0
        assert (await asyncio.to_thread(meter.read)).source is EnergySource.UNKNOWN
        host.energy_j = 9.0
        assert (await asyncio.to_thread(meter.read)).energy_j == 4
