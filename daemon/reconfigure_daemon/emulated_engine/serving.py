"""Runs an emulated engine host: its private socket, its OpenAI surface, and its end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from pydantic import TypeAdapter

from reconfigure_daemon import private_socket
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.emulated_engine.emulation import BootFailed, Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.emulated_engine.openai_api import openai_application
from reconfigure_daemon.errors import ActionInProgress, EngineUnavailable, PortInUse
from reconfigure_daemon.settings import load_settings
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.energy import EnergyReading

_ENERGY = TypeAdapter(EnergyReading)

#: How long answers that are being written may take once the host has stopped.
_SHUTDOWN_TIMEOUT_S = 1.0

#: How soon to try again to stop a host that is in the middle of an action.
_ASK_AGAIN_S = 0.05

log = logging.getLogger(__name__)


async def run(config_path: Path, runtime: Path, initial: Mapping[str, KnobValue]) -> None:
    """Serve until a stop command or signal.

    Raises:
        ReconfigureError, ConfigurationOutsideSpace: in words for the operator.
    """
    settings = load_settings(config_path, os.environ)
    host = EmulatedHost(settings, SystemClock(), Emulation.from_environment(os.environ))
    async with (
        _time_passing(host),
        _openai_at(host, settings.engine.host, settings.engine.port),
        _private_socket_at(host, private_socket.socket_path(runtime)),
    ):
        try:
            await host.boot(initial)
        except BootFailed as failure:
            raise EngineUnavailable(f"the emulated engine did not boot: {failure}") from failure
        log.info("an emulated engine serves at http://%s:%d", settings.engine.host, settings.engine.port)
        _stop_on_signals(host, settings.engine.drain_timeout_s)
        await host.stopped.wait()


@asynccontextmanager
async def _time_passing(host: EmulatedHost) -> AsyncIterator[None]:
    task = asyncio.create_task(host.engine.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _private_socket_at(host: EmulatedHost, path: Path) -> AsyncIterator[None]:
    runner = await private_socket.serve(host, path, [web.get("/v1/energy", _energy_of(host))])
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _openai_at(host: EmulatedHost, address: str, port: int) -> AsyncIterator[None]:
    # Cancelled handlers end their request when a client disconnects, streaming or not.
    runner = web.AppRunner(
        openai_application(host), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_TIMEOUT_S
    )
    await runner.setup()
    try:
        await _listen(runner, address, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, address: str, port: int) -> None:
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        fault = PortInUse if error.errno == errno.EADDRINUSE else EngineUnavailable
        raise fault(f"the engine cannot listen on {address}:{port} ({error.strerror}); change engine.port") from error


def _stop_on_signals(host: EmulatedHost, drain_timeout_s: float) -> None:
    """The first signal drains, after the action that is under way; the second ends at once."""
    stops: list[asyncio.Task[None]] = []

    def stop() -> None:
        if stops:
            host.stopped.set()
        else:
            stops.append(asyncio.create_task(_stop_after_action(host, drain_timeout_s)))

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _stop_after_action(host: EmulatedHost, drain_timeout_s: float) -> None:
    while not host.stopped.is_set():
        try:
            await host.stop(drain_timeout_s)
        except ActionInProgress:
            await asyncio.sleep(_ASK_AGAIN_S)


def _energy_of(host: EmulatedHost) -> Callable[[web.Request], Awaitable[web.Response]]:
    """`GET /v1/energy`: the model's joules, which the contract's telemetry does not hold."""

    async def energy(_: web.Request) -> web.Response:
        return web.json_response(body=_ENERGY.dump_json(host.energy()))

    return energy
