"""What comes over the private socket is checked, and what goes wrong behind it is an answer."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import aiohttp
import pytest

from reconfigure_daemon.errors import PortInUse, RequestRefused
from reconfigure_daemon.ports import HotResult, SwitchMode, SwitchProgress, SwitchReport
from reconfigure_daemon.private_socket import MAX_BODY_BYTES, serve


class Host:
    """Answers as the test says; `finish` lets a switch go on."""

    def __init__(self):
        self.finish = asyncio.Event()
        self.switched = asyncio.Event()
        self.failure = None
        self.stopped_with = None

    async def state(self):
        raise self.failure

    async def set_knobs(self, changes):
        return HotResult(target=changes, enforced=changes, latency_s=0.0)

    async def switch(self, request, on_progress=None):
        on_progress(SwitchProgress(phase="boot", elapsed_s=0.0))
        await self.finish.wait()
        if self.failure:
            raise self.failure
        self.switched.set()
        enforced = request.configuration
        return SwitchReport(outcome="applied", mode=SwitchMode.DRAIN, detail="", enforced=enforced, duration_s=1.0)

    async def stop(self, drain_timeout_s):
        self.stopped_with = drain_timeout_s


@pytest.fixture
async def host():
    return Host()


@pytest.fixture
async def socket_file(host, tmp_path):
    path = tmp_path / "run" / "engine-host.sock"
    runner = await serve(host, path)
    yield path
    await runner.cleanup()


@pytest.fixture
async def session(socket_file):
    connector = aiohttp.UnixConnector(str(socket_file))
    async with aiohttp.ClientSession("http://host", connector=connector) as session:
        yield session


async def fault_of(response):
    return (await response.json())["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/v1/knobs", b"{", 400, "Invalid JSON"),
        ("POST", "/v1/knobs", b"[1]", 400, "the body"),
        ("POST", "/v1/knobs", b'{"a": null}', 400, "a."),
        ("POST", "/v1/switch", b"{}", 400, "configuration: Field required"),
        ("POST", "/v1/switch", b'{"configuration": {}, "mode": "fast"}', 400, "mode: "),
        ("POST", "/v1/stop", b'{"drain_timeout_s": -1}', 400, "drain_timeout_s: "),
        ("POST", "/v1/profile", b'{"seconds": 0}', 400, "seconds: "),
        ("POST", "/v1/profile", b'{"seconds": 61}', 400, "seconds: "),
        ("GET", "/v1/telemetry?after=x", None, 400, "after='x' is not a sequence number"),
        ("GET", "/v1/telemetry?after=-1", None, 400, "after='-1'"),
        ("GET", "/v2/state", None, 404, "Not Found"),
        ("POST", "/v1/state", b"", 405, "Method Not Allowed"),
    ],
)
async def test_a_wrong_command_is_answered_with_what_is_wrong(session, method, path, body, status, words):
    """Every fault is JSON with a kind and a message that names the field."""
    async with session.request(method, path, data=body) as response:
        fault = await fault_of(response)
        assert (response.status, fault["kind"]) == (status, "request_invalid")
        assert words in fault["message"]


async def test_a_body_over_one_mebibyte_is_refused(session):
    """The limit is told; a body just below it is read (at it, versions of aiohttp differ)."""
    async with session.post("/v1/knobs", data=io.BytesIO(b" " * (MAX_BODY_BYTES + 1))) as response:
        assert response.status == 413
        assert "1048576" in (await fault_of(response))["message"]
    async with session.post("/v1/knobs", data=io.BytesIO(b'{"a": 1}'.ljust(MAX_BODY_BYTES - 1))) as response:
        assert response.status == 200


async def test_knobs_keep_their_kinds(session):
    """Booleans, integers, floats and text arrive as what they are."""
    changes = {"a": True, "b": 1, "c": 1.0, "d": "1"}
    async with session.post("/v1/knobs", json=changes) as response:
        enforced = (await response.json())["enforced"]
    assert [(value, type(value)) for value in enforced.values()] == [(v, type(v)) for v in changes.values()]


async def test_an_unforeseen_error_is_told_without_a_traceback(session, host, caplog):
    """The controller gets one sentence, the log everything."""
    host.failure = KeyError("core")
    async with session.get("/v1/state") as response:
        fault = await fault_of(response)
    assert response.status == 500
    assert fault == {"kind": "engine_host_fault", "message": "the engine host failed: KeyError: 'core'"}
    assert caplog.records[-1].exc_info[1] is host.failure


async def test_a_named_refusal_is_no_failure(session, host, caplog):
    """What the host refuses has its own status and is not logged as an error."""
    host.failure = RequestRefused("nothing to go back to")
    with caplog.at_level(logging.ERROR):
        async with session.get("/v1/state") as response:
            assert response.status == 409
    assert caplog.records == []


async def test_progress_is_sent_as_it_happens(session, host):
    """A line of progress can be read while the switch runs; the report comes last."""
    async with session.post("/v1/switch", json={"configuration": {"a": 1}}) as response:
        assert json.loads(await response.content.readline())["phase"] == "boot"
        assert not host.switched.is_set()
        host.finish.set()
        report, *rest = [json.loads(line) async for line in response.content]
    assert (report["event"], report["outcome"], report["enforced"], rest) == ("report", "applied", {"a": 1}, [])


async def test_a_failure_in_the_middle_is_the_last_line(session, host):
    """Once progress has been sent, a fault takes the report's place."""
    host.failure = RequestRefused("no")
    host.finish.set()
    async with session.post("/v1/switch", json={"configuration": {}}) as response:
        *_, last = [json.loads(line) async for line in response.content]
    assert last == {"event": "fault", "error": {"kind": "request_refused", "message": "no"}}


async def test_a_switch_goes_on_without_its_controller(session, host):
    """A controller that is killed in the middle neither breaks nor undoes it."""
    response = await session.post("/v1/switch", json={"configuration": {}})
    await response.content.readline()
    response.close()
    host.finish.set()
    await asyncio.wait_for(host.switched.wait(), 5)


async def test_stop_is_passed_on(session, host):
    """The timeout reaches the host, and the answer comes once it has stopped."""
    async with session.post("/v1/stop", json={"drain_timeout_s": 2.5}) as response:
        assert response.status == 200
    assert host.stopped_with == 2.5


async def test_the_socket_file_goes_with_its_host_only(host, tmp_path):
    """The end of a host removes its own socket, not its successor's."""
    path = tmp_path / "engine-host.sock"
    first = await serve(host, path)
    with pytest.raises(PortInUse):
        await serve(host, path)
    path.rename(tmp_path / "moved")
    second = await serve(host, path)
    await first.cleanup()
    assert path.exists()
    await second.cleanup()
    assert not path.exists()
