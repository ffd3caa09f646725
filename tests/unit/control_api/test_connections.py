"""Connections that ask nothing end; those that are being answered do not, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.control_api import connections
from reconfigure_daemon.control_api.connections import (
    KEEP_ALIVE_S,
    MOST_CONNECTIONS,
    PATIENCE_S,
    ConnectionLimits,
)


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


class Connection:
    closed = False

    def force_close(self):
        self.closed = True


def opened(limits, count):
    found = [Connection() for _ in range(count)]
    limits.sweep(found)
    return found


def asked(limits, connection):
    with limits._answered(connection):
        pass


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 200)), min_size=1, max_size=300))
def test_whoever_is_answered_stays_and_nobody_stays_for_ever(connections_over_time):
    """Whatever comes: nothing that is answered is closed, and at most so many stay open, none beyond its time."""
    clock = Clock()
    limits, there, answering = ConnectionLimits(clock), [], []
    for is_answered, passes_s in connections_over_time:
        connection = Connection()
        there.append(connection)
        if is_answered and len(answering) < MOST_CONNECTIONS // 2:
            answered = limits._answered(connection)
            answered.__enter__()
            answering.append((connection, answered))
        clock.now += passes_s
        limits.sweep(there)
        assert not any(connection.closed for connection, _ in answering)
        there = [connection for connection in there if not connection.closed]
        assert len(there) <= MOST_CONNECTIONS
    limits.sweep(there)
    clock.now += KEEP_ALIVE_S
    limits.sweep(there)
    assert {connection for connection in there if not connection.closed} == {connection for connection, _ in answering}


def test_a_connection_that_never_asks_is_given_less_time_than_one_that_has():
    """Ten seconds for the first request; a scraper may come back after a minute."""
    clock = Clock()
    limits = ConnectionLimits(clock)
    silent, scraper = opened(limits, 2)
    asked(limits, scraper)
    clock.now += PATIENCE_S
    limits.sweep([silent, scraper])
    assert (silent.closed, scraper.closed) == (True, False)
    clock.now += KEEP_ALIVE_S - PATIENCE_S - 1
    asked(limits, scraper)  # between two sweeps: its time begins again
    clock.now += 2
    limits.sweep([scraper])
    assert not scraper.closed


def test_in_a_flood_those_that_have_been_idle_for_longest_go_first():
    """The newest stay."""
    clock = Clock()
    limits = ConnectionLimits(clock)
    old = opened(limits, MOST_CONNECTIONS)
    clock.now += 1
    new = [Connection() for _ in range(5)]
    limits.sweep([*old, *new])
    assert sum(connection.closed for connection in old) == 5
    assert not any(connection.closed for connection in new)


async def connect(api):
    return await asyncio.open_connection("127.0.0.1", api.session._base_url.port)


async def test_others_are_served_while_hundreds_of_connections_are_idle(api, monkeypatch):
    """Within a few sweeps only so many of them are left, and every request meanwhile is answered."""
    monkeypatch.setattr(connections, "_SWEEP_INTERVAL_S", 0.05)
    idle = [await connect(api) for _ in range(MOST_CONNECTIONS + 100)]
    async with asyncio.timeout(20):
        while sum(reader.at_eof() for reader, _ in idle) < 100:
            assert (await api.get("/healthz"))[0] == 200
            await asyncio.gather(*(read_a_little(reader) for reader, _ in idle))
    for _, writer in idle:
        writer.close()


async def read_a_little(reader):
    try:
        await asyncio.wait_for(reader.read(1), 0.001)
    except (TimeoutError, ConnectionError):
        return


@pytest.mark.parametrize("path", ["/v1/intents", "/v1/trials"])
async def test_a_body_that_does_not_arrive_is_refused(api, monkeypatch, path):
    """408 in the API's own form, and the connection is of no further use."""
    monkeypatch.setattr(connections, "PATIENCE_S", 0.05)
    reader, writer = await connect(api)
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Content-Length: 99",
        "",
        "{",
    )
    writer.write("\r\n".join(lines).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    error = json.loads(await reader.readexactly(length))["error"]
    assert error["kind"] == "request_too_slow"
    assert f"POST {path} did not arrive within" in error["message"]
    writer.close()


async def test_only_so_many_requests_are_answered_at_once(api, monkeypatch):
    """The next one is told to come back, in the API's own form."""
    monkeypatch.setattr(connections, "MOST_REQUESTS", 0)
    status, body = await api.get("/v1/status")
    assert (status, body["error"]["kind"]) == (503, "too_many_requests")


@pytest.mark.parametrize("soft", [256])
def test_the_limit_of_open_files_is_raised_to_what_the_system_allows(soft):
    """A flood does not take the last descriptors."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
        connections.allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
