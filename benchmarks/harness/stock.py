"""vLLM's own server as it comes, with the arguments that the daemon would give it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from benchmarks.harness.command import until
from benchmarks.harness.processes import ServerProcess, free_port
from reconfigure_daemon.engine_host import openmp
from reconfigure_daemon.engine_host.arguments import command_line
from reconfigure_daemon.engine_host.small_model import prepare_small_model
from reconfigure_daemon.settings import Settings

#: Both tested versions answer to it; the package for CPUs has no working `vllm` script.
SERVER = "vllm.entrypoints.openai.api_server"

START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 60.0


@asynccontextmanager
async def stock_server(settings: Settings, folder: Path) -> AsyncIterator[str]:
    """Plain vLLM on a port of its own, yielding its address, with the settings' default configuration.

    Where it runs on the CPU it gets the engine host's OpenMP settings, too: by vLLM's own it would have a thread less.

    Args:
        settings: the daemon's, whose model and engine arguments it shares.
        folder: for its log.

    Raises:
        ServerFailed: if it does not serve, with its last words.
    """
    model = settings.engine.model if settings.engine.model != "auto" else str(prepare_small_model())
    own_port = settings.model_copy(update={"engine": settings.engine.model_copy(update={"port": free_port()})})
    line = command_line(own_port, settings.configuration_space().default(), model)
    bound = ",".join(map(str, openmp.processors()))
    environ = {"VLLM_NO_USAGE_STATS": "1", "GOMP_SPINCOUNT": openmp.SPINS, openmp.CHOICE: bound}
    server = ServerProcess([sys.executable, "-m", SERVER, *line], folder / "stock.log", environ, folder)
    url = f"http://127.0.0.1:{own_port.engine.port}"
    try:
        await healthy(server, url)
        yield url
    finally:
        await asyncio.to_thread(server.end, signal.SIGTERM, STOP_TIMEOUT_S)


async def healthy(server: ServerProcess, url: str) -> None:
    """Wait until a plain server answers.

    Raises:
        ServerFailed: if it ended instead.
    """
    async with aiohttp.ClientSession() as session:

        async def answers() -> bool:
            if not server.running:
                raise server.failure("plain vLLM ended before it served")
            try:
                async with session.get(f"{url}/health") as response:
                    return response.status == 200
            except (aiohttp.ClientError, OSError):
                return False

        await until(answers, START_TIMEOUT_S, "plain vLLM to serve", interval_s=0.2)
