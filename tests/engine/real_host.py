"""A real engine host in its own process, and clients of it; what the engine tests stand on."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.engine_host.small_model import prepare_small_model
from reconfigure_daemon.ports import SwitchReport, SwitchRequest
from reconfigure_daemon.private_socket import socket_path

MODEL = "smollm2"
SPACE = {
    "max_num_seqs": {"values": [1, 2, 4, 8, 16], "default": 16},
    "max_num_batched_tokens": {"values": [4, 128, 256, 512], "default": 256},
    "long_prefill_token_threshold": {"values": [0, 64]},
    "pacing_interval_s": {"values": [0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1]},
    "prefix_cache_reading": {"values": [True, False]},
    "block_size": {"values": [32, 64]},
    "kv_cache_memory_bytes": {"values": [2**29, 2**50]},  # the second is more than any machine has
}
#: float32, so that the order of additions in a batch hardly ever decides a token.
ARGUMENTS = {"max_model_len": 2048, "enforce_eager": True, "dtype": "float32", "served_model_name": MODEL}
#: With the variable that opens vLLM's endpoints for development, which must stay shut, and that of those for adapters.
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RealHost:
    """One running host; `url` is vLLM's own server, `socket` the private one."""

    process: subprocess.Popen[bytes]
    url: str
    socket: Path
    log: Path
    clients: list[Any] = field(default_factory=list)

    def commands(self) -> PrivateSocketClient:
        return PrivateSocketClient(self.socket, answer_timeout_s=120)

    async def state(self):
        commands = self.commands()
        try:
            return await commands.state()
        finally:
            await commands.close()

    async def telemetry(self):
        commands = self.commands()
        try:
            return await commands.telemetry(0)
        finally:
            await commands.close()

    async def set_knobs(self, **changes):
        commands = self.commands()
        try:
            return await commands.set_knobs(changes)
        finally:
            await commands.close()

    async def switch(
        self, on_progress=None, deadline_s=120.0, mode="auto", inexact="replay", **changes
    ) -> SwitchReport:
        commands = self.commands()
        try:
            configuration = {**(await commands.state()).target, **changes}
            request = SwitchRequest(configuration=configuration, deadline_s=deadline_s, mode=mode, inexact=inexact)
            return await commands.switch(request, on_progress)
        finally:
            await commands.close()

    async def other_block_size(self) -> int:
        """Of the space's two the one that is not in force: it takes a new core, and computes the same numbers."""
        in_force = (await self.state()).enforced["block_size"]
        return next(value for value in SPACE["block_size"]["values"] if value != in_force)

    def cores(self) -> list[psutil.Process]:
        """EngineCore processes, by the name that vLLM gives them."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in found if "EngineCore" in " ".join(p.cmdline())]


@contextmanager
def real_host(
    folder: Path,
    arguments: dict[str, Any] | None = None,
    space: dict[str, Any] | None = None,
    engine: dict[str, Any] | None = None,
    module: str = "reconfigure_daemon.engine_host",
):
    """Start an engine host on the small model and wait until it serves; ended with the context.

    Args:
        folder: for its settings, its private socket and its log.
        arguments: of vLLM, beside `ARGUMENTS`.
        space: instead of `SPACE`.
        engine: more of the engine's section.
        module: what to run.
    """
    port = free_port()
    own = {"model": str(prepare_small_model()), "port": port, "arguments": {**ARGUMENTS, **(arguments or {})}}
    settings = {
        "engine": {**own, **(engine or {})},
        "space": space or SPACE,
        "switch": {"core_restarts": 10},  # tests kill more cores than an operator would stand by and watch
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    log = folder / "host.log"
    command = [sys.executable, "-m", module, "--config", config, "--runtime", folder]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command)], stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_serving(process, port, log)
        yield RealHost(process, f"http://127.0.0.1:{port}", socket_path(folder), log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_serving(process: subprocess.Popen[bytes], port: int, log: Path, limit_s: float = 180) -> None:
    """Returns when vLLM's port answers; fails with the end of the log if the process ends or takes too long."""
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the engine host does not serve:\n{log.read_text()[-3000:]}")


async def completion(host: RealHost, prompt: list[int], tokens: int, stream: bool = True, **fields: Any):
    """A completion of a forced length: `{index: token ids}` and the finish reasons, as a client sees them."""
    body = {"model": MODEL, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "return_token_ids": True}
    body |= {"ignore_eos": True, "stream": stream} | fields
    outputs: dict[int, list[Any]] = {}
    reasons = []
    async with (
        aiohttp.ClientSession(raise_for_status=True, timeout=aiohttp.ClientTimeout(240)) as session,
        session.post(f"{host.url}/v1/completions", json=body) as response,
    ):
        if not stream:
            for choice in (await response.json())["choices"]:
                outputs[choice["index"]] = [choice["token_ids"], choice["logprobs"]]
                reasons.append(choice["finish_reason"])
            return outputs, reasons
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            for choice in json.loads(line[6:]).get("choices", []):
                outputs.setdefault(choice["index"], []).extend(choice["token_ids"] or [])
                if choice["finish_reason"]:
                    reasons.append(choice["finish_reason"])
    return outputs, reasons


async def until(holds, limit_s: float = 60.0, step_s: float = 0.05) -> None:
    """Wait until an awaited condition holds."""
    limit = time.monotonic() + limit_s
    while not await holds():
        assert time.monotonic() < limit, "it did not happen in time"
        await asyncio.sleep(step_s)


def prompt_of(number: int, length: int = 48) -> list[int]:
    """Token ids that differ between numbers, all plain words of the vocabulary."""
    return [1000 + (number * 997 + k * 31) % 20000 for k in range(length)]
