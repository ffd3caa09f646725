"""The daemon's side of the device helper against the helper itself, in its own process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reconfigure_daemon.actuation.device_helper import DeviceHelperClient, DeviceHelperUnreachable, DeviceRefused
from tests.unit.device_helper.process import helper_process
from tests.unit.metering.machine import DRIVER_NOT_LOADED, FakeNvml


async def test_what_is_set_is_seen(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    """Clock and cap arrive on all cards that are named, and the holder is who set them."""
    fake_nvml.set(gpus=2)
    with helper_process(fake_nvml, tmp_path) as helper:
        client = DeviceHelperClient(helper.socket, "daemon", 30)
        first, second = [card.uuid for card in (await client.renew()).gpus]
        await client.set_clock([first, second], 1200)
        seen = await client.set_power_cap([second], 300)
    assert [(card.clock_mhz, card.power_cap_w, card.holder) for card in seen.gpus] == [
        (1200, 0, "daemon"),
        (1200, 300, "daemon"),
    ]


async def test_refusals_keep_their_words(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    """A value that a card does not have, and a driver that is not there, are the helper's own sentences."""
    with helper_process(fake_nvml, tmp_path) as helper:
        client = DeviceHelperClient(helper.socket, "daemon", 30)
        [card] = (await client.renew()).gpus
        with pytest.raises(DeviceRefused, match="1000 MHz is no clock of") as refusal:
            await client.set_clock([card.uuid], 1000)
        assert not refusal.value.by_card
    fake_nvml.set(init_error=DRIVER_NOT_LOADED)
    with helper_process(fake_nvml, tmp_path) as helper:
        with pytest.raises(DeviceRefused, match="is the NVIDIA driver loaded") as refusal:
            await DeviceHelperClient(helper.socket, "daemon", 30).renew()
        assert refusal.value.by_card


async def test_nobody_there_and_somebody_else_there_are_told(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    """Both say what to start; a helper that ended is nobody."""
    with helper_process(fake_nvml, tmp_path) as helper:
        client = DeviceHelperClient(helper.socket, "daemon", 30)
        await client.renew()
        helper.end()
        with pytest.raises(DeviceHelperUnreachable, match="systemctl start reconfigure-device-helper"):
            await client.renew()

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n")
        writer.close()

    async with await asyncio.start_unix_server(babble, client.path):
        with pytest.raises(DeviceHelperUnreachable, match="what answers there is no device helper"):
            await client.renew()
