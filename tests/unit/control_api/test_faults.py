from __future__ import annotations

import asyncio
import socket

import pytest

from reconfigure_daemon.control_api import listen
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.errors import PortInUse, SettingsInvalid
from reconfigure_daemon.settings.model import ControlApiSettings

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "the body: Invalid JSON"),
        (b'{"kind": "explode"}', "kind: Input should be 'objective', 'apply', 'rollback', 'pause' or 'resume'"),
        (b'{"kind": "apply", "chnages": {}}', "chnages: Extra inputs are not permitted"),
        (b'{"kind": "apply"}', "changes: missing"),
        (b'{"kind": "objective"}', "objective: missing; write energy, throughput or balanced"),
        (b'{"kind": "objective", "objective": "energy", "expires_in_s": -1}', "expires_in_s: Input should be greater"),
        (b'{"kind": "apply", "changes": {"a": 1}, "expires_in_s": 9}', "of kind apply has no expires_in_s"),
        (b'{"kind": "pause", "objective": "energy"}', "of kind pause has no objective"),
    ],
)
async def test_a_wrong_body_is_refused_in_words(api, body, words):
    """Each fault names its field and what is allowed; nothing is changed."""
    status, answer = await api.post(body, headers=JSON)
    assert (status, answer["error"]["kind"]) == (400, "request_invalid")
    assert words in answer["error"]["message"]


async def test_a_body_that_is_too_large_is_refused(api):
    """64 KiB hold any intent."""
    status, answer = await api.post(b" " * 65_537, headers=JSON)
    assert (status, answer["error"]["kind"]) == (413, "body_too_large")


async def test_an_unknown_path_is_told_what_there_is(api):
    """The answer is JSON like any other and lists the paths."""
    status, answer = await api.get("/v1/nothing")
    assert (status, answer["error"]["kind"]) == (404, "not_found")
    assert "/v1/status" in answer["error"]["message"]


async def test_a_wrong_method_is_told_as_json(api):
    """The `Allow` header stays."""
    async with api.session.post("/v1/status", json={}) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
        assert (await answer.json())["error"]["kind"] == "method_not_allowed"


async def test_a_second_action_gets_409_with_what_runs(running_api):
    """Which action, and since when, are facts of the error."""
    async with running_api(emulation=Emulation(boot_s=0.2)) as api:
        first = asyncio.create_task(api.post({"kind": "apply", "changes": {"block_size": 32}}))
        while api.controller.loop.action is None:  # noqa: ASYNC110  # the loop has nobody to tell
            await asyncio.sleep(0.001)
        status, body = await api.post({"kind": "apply", "changes": {"max_num_seqs": 16}})
        assert (status, body["error"]["kind"], body["error"]["action"]) == (409, "action_in_progress", "switch")
        assert body["error"]["since"] == pytest.approx(api.controller.clock.wall(), abs=5)
        assert (await first)[1]["decision"]["outcome"]["kind"] == "applied"


async def test_a_client_that_leaves_does_not_undo_the_switch(running_api):
    """The action belongs to the daemon: it goes on, and its outcome is stored."""
    async with running_api(emulation=Emulation(boot_s=0.1)) as api:
        leaving = asyncio.create_task(
            api.post({"kind": "apply", "changes": {"block_size": 32}}, headers={"Accept": "application/x-ndjson"})
        )
        while api.controller.loop.action is None:  # noqa: ASYNC110  # the loop has nobody to tell
            await asyncio.sleep(0.001)
        leaving.cancel()
        while api.controller.loop.action is not None:  # noqa: ASYNC110  # the loop has nobody to tell
            await asyncio.sleep(0.001)
        stored = (await api.controller.history())[-1]
    assert stored.outcome.kind == "applied"
    assert stored.outcome.enforced["block_size"] == 32


async def test_a_fault_of_ours_is_one_sentence_and_a_log_entry(api, caplog):
    """No traceback leaves the daemon; the log has it."""

    def broken(_loop):
        raise ZeroDivisionError("oops")

    api.controller.loop.plan = broken
    status, answer = await api.post({"kind": "apply", "changes": {"max_num_seqs": 16}, "dry_run": True})
    assert (status, answer["error"]["kind"]) == (500, "internal_error")
    assert answer["error"]["message"] == "the daemon failed: ZeroDivisionError: oops; its log has the details"
    assert "Traceback" in caplog.text


async def test_what_is_no_http_is_the_sender_s_fault_and_not_logged(api, caplog):
    """It is answered with 400, and what it held, perhaps a token, does not reach the log."""
    reader, writer = await asyncio.open_connection(api.session._base_url.host, api.session._base_url.port)
    writer.write(b"GET /v1/status HTTP/1.1\r\nAuthoriz\xedtion: Bearer canary\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 400")
    writer.close()
    await writer.wait_closed()
    assert "canary" not in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_taken_port_is_told_with_the_way_out():
    """The sentence names the address, how to find who has it, and the key to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"listens on 127.0.0.1:{port}.*control_api.port"):
            listen(ControlApiSettings(port=port))


def test_an_address_of_another_machine_is_told():
    """An address that is not ours cannot be listened on, and the key is named."""
    with pytest.raises(SettingsInvalid, match=r"control_api: cannot listen on 192.0.2.1:9400"):
        listen(ControlApiSettings(host="192.0.2.1"))
