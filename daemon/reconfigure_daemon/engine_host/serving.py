"""Joins the host to vLLM's own server and runs both until the end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from reconfigure_daemon import private_socket
from reconfigure_daemon.engine_host import arguments, vllm_names
from reconfigure_daemon.engine_host.arguments import ConfigurationRefusedByVllm
from reconfigure_daemon.engine_host.cores import CoreBootFailed
from reconfigure_daemon.engine_host.front_end import engine_on_router
from reconfigure_daemon.engine_host.host import VllmHost
from reconfigure_daemon.engine_host.small_model import prepare_small_model
from reconfigure_daemon.engine_host.warm_up import WarmUpWrong
from reconfigure_daemon.errors import EngineUnavailable, ReconfigureError
from reconfigure_daemon.settings import Settings, load_settings
from reconfigure_policies.domain.configuration import Configuration, ConfigurationOutsideSpace, KnobValue

log = logging.getLogger("reconfigure.engine_host")


def run(config_path: Path, runtime: Path, initial: Mapping[str, KnobValue]) -> int:
    """Serve until stopped; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        settings = load_settings(config_path, os.environ)
        support = vllm_names.check_names()
        if support.version == "none":
            raise EngineUnavailable("vLLM is not installed in this environment; `make setup` installs it.")
        if support.reason:
            log.warning(support.reason)
        import uvloop

        return int(uvloop.run(serve(settings, runtime, initial, support)))
    except (ReconfigureError, CoreBootFailed, ConfigurationRefusedByVllm, WarmUpWrong) as failure:
        log.error("%s: %s", type(failure).__name__, failure)  # the sentence is the message
        return 1


async def serve(
    settings: Settings, runtime: Path, initial: Mapping[str, KnobValue], support: vllm_names.Support
) -> int:
    """Open the private socket, boot the first core, and run vLLM's HTTP server on it."""
    model = await asyncio.to_thread(resolve_model, settings)
    host = VllmHost(settings, runtime, model, support)
    configuration = initial_configuration(settings, initial)
    parsed = arguments.parse(arguments.command_line(settings, configuration, model, support.live_switching))
    api = arguments.api_server()
    address, listening = arguments.open_socket(parsed)
    runner = await private_socket.serve(host, private_socket.socket_path(runtime))
    try:
        core = await host.boot_first(configuration)
        engine = engine_on_router(host, core, parsed)
        try:
            announcing = asyncio.create_task(announce(host, listening))
            ending = await api.build_and_serve(engine, address, listening, parsed)
            announcing.cancel()
            await ending
        finally:
            engine.shutdown()
    finally:
        listening.close()
        await runner.cleanup()
    return 0


async def announce(host: VllmHost, listening: socket.socket) -> None:
    """Say that the host serves, once vLLM's server has begun to listen on its socket."""
    while not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):  # noqa: ASYNC110  # vLLM tells nobody
        await asyncio.sleep(0.05)
    host.begin_serving()
    log.info("serving at %s:%d", *listening.getsockname()[:2])


def resolve_model(settings: Settings) -> str:
    """The model's path or name; `auto` prepares the small real model that comes as a package."""
    if settings.engine.model != "auto":
        return settings.engine.model
    return str(prepare_small_model())


def initial_configuration(settings: Settings, initial: Mapping[str, KnobValue]) -> Configuration:
    """The space's defaults with what the controller wants; what the space does not allow is left out."""
    space = settings.engine_space()
    allowed = {}
    for name, value in initial.items():
        try:
            space.check({name: value})
            allowed[name] = value
        except ConfigurationOutsideSpace as outside:
            log.warning("start value left out: %s", outside)
    return space.default().with_changes(allowed)
