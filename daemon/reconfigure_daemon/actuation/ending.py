"""Ends an engine host: by its own command first, which drains, then by signals; only ever its own session."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.actuation.processes import HostProcess
from reconfigure_daemon.clock import Clock
from reconfigure_daemon.errors import ActionInProgress, EngineHostUnreachable
from reconfigure_daemon.private_socket import socket_path

POLL_INTERVAL_S = 0.1

#: From asking a session to end until it is killed.
TERMINATION_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


def pid_file(runtime: Path) -> Path:
    """Where the host of a runtime directory is noted."""
    return runtime / "engine-host.pid"


async def stop_host(runtime: Path, drain_timeout_s: float, clock: Clock) -> int | None:
    """End the host of a runtime directory, whoever started it; its live requests finish first, within the timeout.

    Returns:
        Its process id, or None if none ran.
    """
    process = HostProcess.read(pid_file(runtime))
    client = PrivateSocketClient(socket_path(runtime))
    try:
        if process is None:
            process = await _answering(client)
        if process is None or not process.pids():
            return None
        await command_stop(client, drain_timeout_s, clock)
    finally:
        await client.close()
    await end(process, clock)
    return process.pid


async def command_stop(client: PrivateSocketClient, drain_timeout_s: float, clock: Clock) -> None:
    """Have the host drain and end; a switch is waited for, as its requests are, a boot is not."""
    deadline_s = clock.monotonic() + drain_timeout_s
    while True:
        try:
            return await client.stop(drain_timeout_s)
        except EngineHostUnreachable as error:
            return log.info("the engine host takes no stop command: %s", error)
        except ActionInProgress as busy:
            if busy.action == "boot" or clock.monotonic() >= deadline_s:
                return log.info("the engine host takes no stop command: %s", busy)
        await clock.sleep(POLL_INTERVAL_S)


async def end(process: HostProcess, clock: Clock) -> None:
    """Wait for a session that was told to stop, then end what is left of it, by force if asking does not help."""
    if not await gone(process, TERMINATION_TIMEOUT_S, clock):
        await end_now(process, clock)
    process.exit_code()  # takes a dead child off the kernel's list


async def end_now(process: HostProcess, clock: Clock) -> None:
    """End a process and all of its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.signal(number)
        if await gone(process, TERMINATION_TIMEOUT_S, clock):
            break
    process.exit_code()


async def gone(process: HostProcess, timeout_s: float, clock: Clock) -> bool:
    """Wait until nothing is left of a session, at most this long; whether that came about."""
    deadline_s = clock.monotonic() + timeout_s
    while process.pids():
        if clock.monotonic() >= deadline_s:
            return False
        await clock.sleep(POLL_INTERVAL_S)
    return True


async def _answering(client: PrivateSocketClient) -> HostProcess | None:
    """The host that answers although nothing notes it."""
    try:
        async with asyncio.timeout(TERMINATION_TIMEOUT_S):
            state = await client.state()
    except (EngineHostUnreachable, TimeoutError):
        return None
    return HostProcess.of(state.pid)
