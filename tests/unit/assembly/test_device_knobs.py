"""A real daemon, a real device helper and fabricated cards."""

from __future__ import annotations

from tests.unit.device_helper.process import helper_process
from tests.unit.metering.conftest import fake_nvml, nvml_library  # noqa: F401  # fixtures

OFF = "gpu_clock_mhz is off: no device helper answers"


async def test_the_cards_follow_the_objective_and_outlive_a_killed_daemon(config, start_daemon, fake_nvml, tmp_path):  # noqa: F811  # a fixture
    """The objective at start sets the clock; `kill -9` leaves it to the next; the helper's end frees the card."""
    config["space"]["gpu_clock_mhz"] = {"values": [0, 1200]}
    config["objectives"]["energy"] |= {"gpu_clock_mhz": 1200}
    config |= {"start_objective": "energy", "device": {"enabled": True, "socket": "helper.sock", "lease_s": 60}}
    with helper_process(fake_nvml, tmp_path) as helper:
        first = await start_daemon()
        assert (await first.serving())["enforced"] == {"max_num_seqs": 16, "block_size": 32, "gpu_clock_mhz": 1200}
        first.process.kill()
        await first.ended()
        second = await start_daemon()
        assert (await second.serving())["enforced"]["gpu_clock_mhz"] == 1200
        assert fake_nvml.was_set(0, "locked_mhz") == [1200]
        helper.end()
        assert fake_nvml.was_set(0, "locked_mhz") == [1200, 0]
        await second.until(lambda status: any(OFF in notice for notice in status["notices"]))
        answer, refused = await second.intend("apply", changes={"gpu_clock_mhz": 0})
        assert (answer, refused["error"]["kind"]) == (409, "request_refused")
