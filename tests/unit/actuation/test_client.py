"""A host that is gone, silent or strange is told apart from one that refuses."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.errors import EngineHostFault, EngineHostUnreachable
from reconfigure_daemon.ports import SwitchRequest

SWITCH = SwitchRequest(configuration={})


@pytest.fixture
def socket_file(tmp_path):
    return tmp_path / "engine-host.sock"


@asynccontextmanager
async def answering(path, raw, *, keep_open=False):
    """A host that answers every request with these bytes; one that keeps silent is soon given up."""
    done = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        if keep_open:
            await done.wait()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    client = PrivateSocketClient(path, answer_timeout_s=0.1 if keep_open else 30)
    yield client
    await client.close()
    done.set()
    server.close()
    await server.wait_closed()


def http(body, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def test_nobody_there(socket_file):
    """The error names the socket and what to start."""
    client = PrivateSocketClient(socket_file)
    for command in (client.state(), client.stop(1.0), client.switch(SWITCH)):
        with pytest.raises(EngineHostUnreachable, match=f"no engine host answers on {socket_file}.*reconfigure serve"):
            await command
    await client.close()


async def test_a_host_that_says_nothing_is_given_up(socket_file):
    """The error says what was asked and for how long."""
    async with answering(socket_file, b"", keep_open=True) as client:
        with pytest.raises(EngineHostUnreachable, match=r"did not answer GET /v1/state within 0\.1 s"):
            await client.state()


async def test_a_host_that_dies_before_its_answer(socket_file):
    """Its end is an end for every command, and for a stop it is the answer."""
    async with answering(socket_file, b"") as client:
        with pytest.raises(EngineHostUnreachable, match="went away during GET /v1/state"):
            await client.state()
        await client.stop(1.0)


@pytest.mark.parametrize("body", ["", '{"event":"progress","phase":"boot","elapsed_s":0}\n'])
async def test_a_switch_without_a_report_is_unknown(socket_file, body):
    """A stream that ends early says nothing about the outcome; the error says how to learn it."""
    steps = []
    async with answering(socket_file, http(body)) as client:
        with pytest.raises(EngineHostUnreachable, match=r"went away during a switch.*reconfigure status"):
            await client.switch(SWITCH, steps.append)
    assert len(steps) == body.count("\n")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (http("hello"), "HostState is not understood"),
        (http('{"host_id": 7}'), "host_id: .*restart it with this version"),
        (http("<html>", "500 Oops"), "no JSON object"),
        (http("{}", "404 Not Found"), "is no fault"),
        (http('{"error": {"kind": "new_kind", "message": "too hot"}}', "507 Full"), "too hot"),
    ],
)
async def test_a_strange_answer_is_a_fault(socket_file, raw, words):
    """What is not understood is quoted or named by field, never a parser's traceback."""
    async with answering(socket_file, raw) as client:
        with pytest.raises(EngineHostFault, match=words):
            await client.state()


async def test_a_strange_line_in_a_switch_is_a_fault(socket_file):
    """Neither progress nor report."""
    async with answering(socket_file, http('{"event": "applause"}\n')) as client:
        with pytest.raises(EngineHostFault, match="is no fault"):
            await client.switch(SWITCH)


async def test_a_successor_on_the_same_socket_is_reached(socket_file):
    """No connection to a dead host is kept: the next command finds whoever listens now."""
    client = PrivateSocketClient(socket_file)
    for word in ("first", "second"):
        fault = http(f'{{"error": {{"kind": "engine_host_fault", "message": "{word}"}}}}', "502 Bad")
        async with answering(socket_file, fault):
            with pytest.raises(EngineHostFault, match=word):
                await client.state()
        socket_file.unlink(missing_ok=True)
    await client.close()
