"""`POST /v1/profile`: recorded as the one action that runs, read elsewhere."""

from __future__ import annotations

import asyncio

import pytest

from reconfigure_daemon.ports import DeviceProfile, ProfileTraces

FOUND = DeviceProfile(trace="t", device="CPU", span_s=1, seconds={"idle": 1}, top=[])


async def read(files):
    assert files == ["t"]
    return [FOUND]


async def test_a_profile_is_of_what_is_enforced_and_nothing_else_runs_meanwhile(running_api, monkeypatch):
    """The answer names the configuration; an apply in the middle is a 409 that says what runs."""
    recording, enough = asyncio.Event(), asyncio.Event()

    async def record(seconds):
        recording.set()
        await enough.wait()
        return ProfileTraces(files=["t"], seconds=seconds, writing_s=0.1)

    async with running_api(read_profiles=read) as api:
        monkeypatch.setattr(api.launcher.host, "profile", record)
        asked = asyncio.create_task(api.post({"seconds": 2}, "/v1/profile"))
        await recording.wait()
        status, refused = await api.post({"kind": "apply", "changes": {"block_size": 32}})
        enough.set()
        answer, found = await asked
        enforced = dict(api.controller.loop.sampler.state.enforced)
    assert (status, refused["error"]["action"]) == (409, "profile")
    assert (answer, found["configuration"], found["seconds"]) == (200, enforced, 2)
    assert found["devices"] == [FOUND.model_dump()]


@pytest.mark.parametrize("body", [{"seconds": 0}, {"seconds": 61}, {"minutes": 1}])
async def test_a_wrong_request_is_told(running_api, body):
    """The field is named."""
    async with running_api(read_profiles=read) as api:
        status, refused = await api.post(body, "/v1/profile")
    assert (status, refused["error"]["kind"]) == (400, "request_invalid")
    assert next(iter(body)) in refused["error"]["message"]


async def test_an_emulated_engine_has_nothing_to_profile(running_api):
    """It says so, and what has."""
    async with running_api(read_profiles=read) as api:
        status, refused = await api.post({}, "/v1/profile")
    assert status == 409
    assert "an emulated engine runs no kernels" in refused["error"]["message"]
