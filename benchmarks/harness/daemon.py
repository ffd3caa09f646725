"""A whole daemon for one benchmark: `reconfigure serve` on the shipped `config.yaml`, in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import psutil
import yaml

from benchmarks.harness.command import until
from benchmarks.harness.machine import PROJECT, gpus
from benchmarks.harness.processes import ServerFailed, ServerProcess, free_port, last_lines
from reconfigure_daemon.actuation.processes import HostProcess
from reconfigure_daemon.control_api.messages import DecisionList, DecisionView, IntentResult, StatusView
from reconfigure_daemon.load_generation.target import Target, ask_served_model
from reconfigure_daemon.ports import HostState, SwitchMode
from reconfigure_daemon.settings import Settings, load_settings

START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 5.0
RELOAD_S = 1.0  # a signal has no answer; the mode of each switch shows whether it was taken

Progress = Callable[[dict[str, Any]], None]


class Daemon:
    """An asynchronous context: inside it, the daemon serves; at its end, it and its engine are gone.

    Args:
        engine: `vllm` or `emulated`.
        model: as `engine.model`.
        changes: sections of `config.yaml` with the keys to change, as deep as they go.
        environ: variables of the controller, beside this process's own.
        without: an argument of the shipped `engine.arguments` to leave out, because the space decides it.
    """

    def __init__(
        self,
        engine: str,
        model: str,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        environ: Mapping[str, str] | None = None,
        without: str | None = None,
    ) -> None:
        self._environ = dict(environ or {})
        self.folder = Path(tempfile.mkdtemp(prefix="reconfigure-benchmark-"))
        self.config = self.folder / "config.yaml"
        self._written = shipped_settings(engine, model, free_port(), free_port(), changes or {})
        self._written["engine"]["arguments"].pop(without, None)
        self.settings = self._write_settings()
        self.engine_url = f"http://127.0.0.1:{self.settings.engine.port}"
        self.control_url = f"http://127.0.0.1:{self.settings.control_api.port}"
        self.runtime = self.folder / "run"
        self.controller: ServerProcess
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        self.start_controller()
        try:
            await self.ready()
        except BaseException as error:  # its log is kept, since the error names it
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        host = HostProcess.read(self.runtime / "engine-host.pid")
        await asyncio.to_thread(self.controller.end, signal.SIGINT, STOP_TIMEOUT_S)  # Ctrl-C ends the engine as well
        if host is not None:
            await self._gone(host)
        if error is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    async def _gone(host: HostProcess) -> None:
        """Kill whatever is left of the engine host's session, and wait until nothing of it runs."""
        host.signal(signal.SIGKILL)

        async def gone() -> bool:
            return not host.pids()

        await until(gone, STOP_TIMEOUT_S, "the engine host's processes to end")

    def start_controller(self, environ: Mapping[str, str] | None = None) -> None:
        """Start `reconfigure serve`; the engine that an earlier one left is adopted.

        Args:
            environ: beside this process's own environment; an engine that is adopted does not get it.
        """
        command = [sys.executable, "-m", "reconfigure_daemon", "serve", "--config", str(self.config)]
        variables = {**self._environ, **(environ or {})}
        self.controller = ServerProcess(command, self.folder / "controller.log", variables, self.folder)

    def controller_worked_s(self) -> float:
        """Processor time that the present controller has taken so far, in user and kernel mode."""
        return float(sum(psutil.Process(self.controller.pid).cpu_times()[:2]))

    async def exchange_controller(self, environ: Mapping[str, str]) -> None:
        """End the controller, start one with another environment, and wait until it serves with the same engine."""
        await asyncio.to_thread(self.controller.end, signal.SIGTERM, STOP_TIMEOUT_S)
        self.start_controller(environ)
        await self.ready()

    def _write_settings(self) -> Settings:
        self.config.write_text(yaml.safe_dump(self._written, sort_keys=False))
        return load_settings(self.config, {})

    async def force_mode(self, mode: SwitchMode) -> None:
        """Have cold switches done in one mode from now on."""
        await self.reload({"switch": {"mode": mode.value}})

    async def reload(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Change keys that a running daemon takes over, as an operator would: in `config.yaml`, read on SIGHUP."""
        self._written = merged(self._written, changes)
        self.settings = self._write_settings()
        self.controller.send(signal.SIGHUP)
        await asyncio.sleep(RELOAD_S)

    async def ready(self) -> None:
        """Wait until clients are served.

        Raises:
            ServerFailed: if the controller ended, with its and the engine's last words.
        """

        async def answered() -> bool:
            if not self.controller.running:
                engine = last_lines(self.runtime / "engine-host.log")
                raise ServerFailed(f"{self.controller.failure('the daemon ended')}\n  and the engine's:\n{engine}")
            return await self._ok("/readyz")

        await until(answered, START_TIMEOUT_S, "the daemon to serve")

    async def _ok(self, path: str) -> bool:
        patience = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)  # something else may listen there and never answer
        try:
            async with self._session.get(self.control_url + path, timeout=patience) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def status(self) -> StatusView:
        """What `reconfigure status` shows."""
        async with self._session.get(f"{self.control_url}/v1/status", raise_for_status=True) as response:
            return StatusView.model_validate_json(await response.read())

    async def decisions(self) -> list[DecisionView]:
        """What `reconfigure history` shows, the latest first."""
        url = f"{self.control_url}/v1/decisions?limit=500"
        async with self._session.get(url, raise_for_status=True) as response:
            return DecisionList.model_validate_json(await response.read()).decisions

    async def host(self) -> HostState:
        """The engine host's state.

        Raises:
            ServerFailed: if it cannot be read.
        """
        status = await self.status()
        if status.engine is None:
            raise ServerFailed(f"the engine host cannot be read: {status.engine_error}")
        return status.engine

    async def intend(self, request: Mapping[str, Any], on_progress: Progress = lambda _: None) -> IntentResult:
        """Have an intent carried out, seeing its steps on the way.

        Raises:
            ServerFailed: if it is refused.
        """
        headers = {"Accept": "application/x-ndjson"}
        async with self._session.post(f"{self.control_url}/v1/intents", json=request, headers=headers) as response:
            async for line in response.content:
                message = json.loads(line)
                if "error" in message:
                    raise ServerFailed(f"{request} was refused: {message['error']['message']}")
                if message.pop("event", None) != "progress":
                    return IntentResult.model_validate(message)
                on_progress(message)
        raise ServerFailed(f"the answer to {request} ended before its result")

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Any other question to the control API.

        Raises:
            ServerFailed: if it is refused, in the daemon's words.
        """
        async with self._session.request(method, self.control_url + path, json=body) as response:
            answer: dict[str, Any] = await response.json()
        if response.status >= 400:
            raise ServerFailed(f"{method} {path} was refused: {answer['error']['message']}")
        return answer

    async def apply(self, changes: Mapping[str, Any], on_progress: Progress = lambda _: None) -> IntentResult:
        """What `reconfigure apply` does."""
        return await self.intend({"kind": "apply", "changes": dict(changes)}, on_progress)

    async def move_to(self, changes: Mapping[str, Any]) -> None:
        """Set knobs as an operator would, and see to it that they hold.

        Raises:
            ServerFailed: if they do not, in the daemon's words.
        """
        result = await self.apply(dict(changes))
        if not applied(result):
            outcome = result.decision.outcome if result.decision else None
            raise ServerFailed(f"{dict(changes)} was not applied: {outcome.detail if outcome else result}")

    async def target(self, seed: int = 0, keep_output: bool = False) -> Target:
        """The engine as the load generator sees it."""
        served = await ask_served_model(self.engine_url)
        return Target(self.engine_url, served.name, seed=seed, keep_output=keep_output)

    async def live(self, requests: int, timeout_s: float = 60.0) -> None:
        """Wait until so many requests run."""

        async def enough() -> bool:
            return (await self.host()).live_requests >= requests

        await until(enough, timeout_s, f"{requests} live requests")


def applied(result: IntentResult) -> bool:
    """Whether an intent was carried out, or asked for what already was."""
    outcome = result.decision and result.decision.outcome
    return outcome is None or outcome.kind == "applied"


def shipped_settings(
    engine: str, model: str, engine_port: int, control_port: int, changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The shipped `config.yaml` on ports and in folders of its own, with some keys changed."""
    settings: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text())
    settings["paths"] = {"state": "state", "runtime": "run"}
    arguments = {name: value for name, value in machine_arguments().items() if name not in changes.get("space", {})}
    own = {
        "engine": {"kind": engine, "model": model, "port": engine_port, "arguments": arguments},
        "control_api": {"port": control_port},
    }
    return merged(merged(settings, own), changes)


def machine_arguments() -> dict[str, Any]:
    """Without a GPU, boots that compile nothing: every switch and every arm of a comparison boots a core."""
    return {} if gpus() else {"enforce_eager": True}


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some keys changed, as deep as the changes go."""
    result = dict(settings)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result
