"""Finds a running engine host or starts one; leaves it running when the controller goes."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from reconfigure_daemon.actuation import ending, host_log, preflight, processes
from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.actuation.processes import HostProcess
from reconfigure_daemon.clock import Clock, SystemClock
from reconfigure_daemon.errors import (
    EngineHostUnreachable,
    EngineStartTimeout,
    EngineUnavailable,
    PortInUse,
    ReconfigureError,
)
from reconfigure_daemon.ports import HostPhase, HostState
from reconfigure_daemon.private_socket import socket_path
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import Configuration, KnobValue

_MODULES = {"vllm": "reconfigure_daemon.engine_host", "emulated": "reconfigure_daemon.emulated_engine"}

#: A host that runs answers within this, or adoption would not be quick.
ADOPTION_TIMEOUT_S = 2.0

#: What only a host does that can answer clients.
_SERVING_PHASES = (HostPhase.SERVING, HostPhase.SWITCHING, HostPhase.RECOVERING)

log = logging.getLogger(__name__)


class ProcessLauncher:
    """Implements `ports.EngineHostLauncher` with processes of this machine.

    In the runtime directory it keeps `engine-host.pid`, `engine-host.log` and the log before that; the host makes
    `engine-host.sock` there.

    Attributes:
        client: reaches whichever host answers there, also one that still boots; whoever made the launcher closes it.
        log_file: what the host says.
    """

    def __init__(
        self,
        settings: Settings,
        config_path: Path,
        runtime: Path,
        environ: Mapping[str, str],
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._config_path = config_path.resolve()
        self._runtime = runtime.resolve()
        self._environ = environ
        self._clock = clock or SystemClock()
        self._pid_file = ending.pid_file(self._runtime)
        self.log_file = self._runtime / "engine-host.log"
        self.client = PrivateSocketClient(socket_path(self._runtime))

    # --- ports.EngineHostLauncher ---

    async def adopt_or_start(self, configuration: Mapping[str, KnobValue] | None = None) -> PrivateSocketClient:
        """See `EngineHostLauncher.adopt_or_start`.

        Raises:
            EngineUnavailable: if a host ended before it served, with its last error; if another kind of engine runs.
            EngineStartTimeout: if a host did not serve within `engine.start_timeout_s`. One that was found running is
                left alone, as it may have live requests; one that was started here is ended.
            PortInUse: if somebody listens where clients are to reach it.
        """
        return await self.restart(self._start_configuration() if configuration is None else configuration)

    async def restart(self, configuration: Mapping[str, KnobValue]) -> PrivateSocketClient:
        """See `EngineHostLauncher.restart`. A host that turns out to be alive is adopted. Raises as above."""
        if not await self._find(self.client):
            await self._start(self.client, configuration)
        return self.client

    async def stop(self) -> None:
        """End the host; see `ending`."""
        await ending.stop_host(self._runtime, self._settings.engine.drain_timeout_s, self._clock)

    # --- finding ---

    async def _find(self, client: PrivateSocketClient) -> bool:
        """Whether a host runs; if so it serves on return."""
        state = await self._answer(client)
        if state is None:
            process = HostProcess.read(self._pid_file)
            if process is None or not process.alive:
                return False
            log.info("engine host %d runs but does not answer yet; waiting for it", process.pid)
            await self._until_serving(client, process)
            return True
        process = self._noted(state)
        if state.phase is HostPhase.STOPPING and process is not None:
            patience_s = self._settings.engine.drain_timeout_s + ending.TERMINATION_TIMEOUT_S
            await ending.gone(process, patience_s, self._clock)
        if state.phase in (HostPhase.STOPPING, HostPhase.FAILED):
            return False
        await self._until_serving(client, process)
        log.info("adopted engine host %d with %d live requests", state.pid, state.live_requests)
        return True

    def _noted(self, state: HostState) -> HostProcess | None:
        """The process of a host that answers; the pid file may be gone, or name a host of long ago."""
        if state.engine != self._settings.engine.kind:
            raise EngineUnavailable(
                f"engine host {state.pid} runs engine.kind {state.engine}, config.yaml wants "
                f"{self._settings.engine.kind}; stop that host first (kill {state.pid})"
            )
        process = HostProcess.of(state.pid)
        if process is not None:
            process.write(self._pid_file)
        return process

    async def _answer(self, client: PrivateSocketClient) -> HostState | None:
        try:
            async with asyncio.timeout(ADOPTION_TIMEOUT_S):
                return await client.state()
        except (EngineHostUnreachable, TimeoutError):
            return None

    # --- starting ---

    async def _start(self, client: PrivateSocketClient, configuration: Mapping[str, KnobValue]) -> None:
        self._runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (left := HostProcess.read(self._pid_file)) is not None:
            await ending.end_now(left, self._clock)
        preflight.check(self._settings)
        host_log.rotate(self.log_file)
        process = processes.start(self._command(configuration), self._environ, self.log_file)
        process.write(self._pid_file)
        log.info("started engine host %d, its log is %s", process.pid, self.log_file)
        try:
            await self._until_serving(client, process)
        except (EngineUnavailable, EngineStartTimeout, PortInUse):
            await ending.end_now(process, self._clock)
            raise

    def _command(self, configuration: Mapping[str, KnobValue]) -> list[str]:
        module = _MODULES[self._settings.engine.kind]
        command = [sys.executable, "-m", module, "--config", str(self._config_path), "--runtime", str(self._runtime)]
        return [*command, "--initial", json.dumps(dict(configuration))]

    def _start_configuration(self) -> Configuration:
        named = self._settings.named_configurations()
        default = self._settings.configuration_space().default()
        return named.get(self._settings.start_objective, default)

    async def _until_serving(self, client: PrivateSocketClient, process: HostProcess | None) -> None:
        timeout_s = self._settings.engine.start_timeout_s
        deadline_s = self._clock.monotonic() + timeout_s
        while self._clock.monotonic() < deadline_s:
            state = await self._answer(client)
            if state is not None and state.phase in _SERVING_PHASES:
                return
            if state is not None and state.phase is HostPhase.FAILED:
                raise self._failure(None, state.last_error)
            if process is not None and not process.alive:
                raise self._failure(process.exit_code(), None)
            await self._clock.sleep(ending.POLL_INTERVAL_S)
        raise EngineStartTimeout(
            f"the engine host did not serve within {timeout_s:g} s (engine.start_timeout_s); "
            f"its last word: {host_log.last_error(self.log_file)}; all it said is in {self.log_file}"
        )

    def _failure(self, exit_code: int | None, told: str | None) -> ReconfigureError:
        found = told or host_log.last_error(self.log_file)
        return preflight.explain(self._settings, exit_code, found, self.log_file)
