"""A thousand idle connections and slow clients on the control API: its memory stays bounded, and others are served.

The idle ones send nothing; the slow ones send a request byte by byte, or its head and never its body.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import psutil
from rich.console import Console

from benchmarks.faults.scene import errors_logged, log_length, witnessed
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import at_most, exactly, shown
from reconfigure_daemon.control_api.connections import MOST_CONNECTIONS, PATIENCE_S

IDLE, SLOW = 1000, 50
FLOODS = 3

#: How long each flood is held: longer than the control API's patience with any of them.
HELD_S = PATIENCE_S + 5

_HEAD = b"POST /v1/intents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 64\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Several floods on one daemon."""
    floods = 1 if arguments.quick else FLOODS
    async with Daemon(arguments.engine, arguments.model) as daemon:
        process, logged = psutil.Process(daemon.controller.pid), log_length(daemon)
        before_mib, most_fds = memory_mib(process), process.num_fds()
        grown_mib, left = [], []
        async with witnessed(daemon, seed=0) as witness:
            for flood in range(floods):
                async with flooded(daemon.settings.control_api.port):
                    most_fds = max(most_fds, process.num_fds())
                    await asyncio.sleep(HELD_S)
                    left.append(open_connections(process, daemon.settings.control_api.port))
                    grown_mib.append(memory_mib(process) - before_mib)
                console.print(f"flood {flood + 1}: {grown_mib[-1]:.1f} MiB more, {left[-1]} connections left")
        errors = errors_logged(daemon, logged)
    return command.Findings(
        rows=[
            at_most(
                f"{IDLE} idle and {SLOW} slow clients: memory of the controller grows by", max(grown_mib), 32, "MiB"
            ),
            at_most(f"connections left after {HELD_S:g} s", max(left), MOST_CONNECTIONS),
            exactly("probes without answer meanwhile", witness.unanswered, 0),
            at_most("slowest answer to a probe meanwhile", witness.slowest_probe_s, 1, "s"),
            exactly("requests to the engine affected", len(witness.affected), 0),
            exactly("errors in the controller's log", len(errors), 0),
            shown("growth from the first flood to the last", grown_mib[-1] - grown_mib[0], "MiB"),
            shown("most descriptors", most_fds),
        ],
        notes=[f"{floods} floods, each held for {HELD_S:g} s; {len(witness.probe_s)} probes."],
        details={"grown_mib": grown_mib, "left": left, "affected": witness.affected, "errors": errors},
    )


@asynccontextmanager
async def flooded(port: int) -> AsyncIterator[None]:
    """Idle and slow clients hold their connections as long as the API lets them."""
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(IDLE)]
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SLOW)]
    dripping = [asyncio.create_task(drip(streams, number % 2 == 0)) for number, streams in enumerate(slow)]
    try:
        yield
    finally:
        for task in dripping:
            task.cancel()
        await asyncio.gather(*dripping, return_exceptions=True)
        await closed([*idle, *slow])


async def drip(streams: Streams, never_ends_its_head: bool) -> None:
    """Send a head byte by byte, or at once and then no body."""
    _, writer = streams
    with suppress(ConnectionError):
        if not never_ends_its_head:
            writer.write(_HEAD + b"\r\n{")
            return
        for place in range(len(_HEAD)):
            writer.write(_HEAD[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0.2)


async def closed(connections: Sequence[Streams]) -> None:
    """Let go of all of them."""
    for _, writer in connections:
        writer.close()
    for _, writer in connections:
        with suppress(OSError):
            await writer.wait_closed()


def memory_mib(process: psutil.Process) -> float:
    """Resident memory, in MiB."""
    return float(process.memory_info().rss) / 2**20


def open_connections(process: psutil.Process, port: int) -> int:
    """Connections of clients to the control API that the controller holds open, that of the probes included."""
    established = (c for c in process.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED)
    return sum(connection.laddr.port == port for connection in established)
