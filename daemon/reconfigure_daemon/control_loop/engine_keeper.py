"""Keeps an engine host: adopts or starts one, notices when it is gone, and brings up a fresh one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.decisions import Decisions
from reconfigure_daemon.control_loop.read_back import verdict
from reconfigure_daemon.errors import EngineHostUnreachable, ReconfigureError
from reconfigure_daemon.ports import EngineHost, EngineHostLauncher, HostState
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind

_LONGEST_WAIT_S = 60.0


class EngineKeeper:
    """The one place that knows whether there is an engine host.

    Args:
        launcher: finds, starts and restarts.
        decisions: where a death and what follows are recorded.
        clock: time between attempts.
        seen: told what a host enforces as soon as it is there, so that nobody is shown what it said while it booted.
        client: reaches whichever host answers on the private socket, also one that still boots; without it a host
            is reached only through what the launcher returns.

    Attributes:
        error: why there is none, in one sentence; None while there is one.
    """

    def __init__(
        self,
        launcher: EngineHostLauncher,
        decisions: Decisions,
        clock: Clock,
        seen: Callable[[HostState], None],
        client: EngineHost | None = None,
    ) -> None:
        self.error: str | None = "the engine host is being adopted or started"
        self._client = client
        self._launcher = launcher
        self._decisions = decisions
        self._clock = clock
        self._seen = seen
        self._host: EngineHost | None = None
        self._last_seen: HostState | None = None
        self._lost: asyncio.Future[HostState] | None = None

    @property
    def host(self) -> EngineHost:
        """The engine host.

        Raises:
            EngineHostUnreachable: while there is none.
        """
        if self._host is None:
            raise EngineHostUnreachable(f"{self.error}; try again when `reconfigure status` shows it serving")
        return self._host

    @property
    def has_host(self) -> bool:
        """Whether there is an engine host for commands."""
        return self._host is not None

    @property
    def visible(self) -> EngineHost:
        """The engine host, also while it still boots; for looking, not for commands.

        Raises:
            EngineHostUnreachable: if there is neither.
        """
        return self._client or self.host

    async def run(self, target: Callable[[], Configuration]) -> None:
        """Adopt or start a host, then replace each one that dies; runs until it is cancelled.

        Args:
            target: what a fresh host is to enforce.

        Raises:
            ReconfigureError: if the first host does not start, with what the operator can do about it.
        """
        while self._host is None:
            await self._find(target())
        while True:
            self._lost = asyncio.get_running_loop().create_future()
            await self._replace(await self._lost, target())

    def silent(self, reason: str) -> None:
        """The host did not answer: replace it if its process is gone; a silent one may still serve its clients."""
        if self._host is None:
            return
        self.error = reason
        if self._lost is None or self._lost.done() or self._last_seen is None:
            return
        if _is_gone(self._last_seen.pid):
            self._lost.set_result(self._last_seen)

    def answered(self, state: HostState) -> None:
        """The host answered; while it boots it is not there for commands yet."""
        if self._host is not None:
            self._last_seen = state
            self.error = None

    async def _find(self, target: Configuration) -> None:
        """Adopt or start a host, and know its process; one that dies in between is looked for again."""
        found = await self._launcher.adopt_or_start(target)
        host = self._client or found
        with suppress(EngineHostUnreachable):
            self._is_there(host, await host.state())

    def _is_there(self, host: EngineHost, state: HostState) -> None:
        self._host, self._last_seen, self.error = host, state, None
        self._seen(state)

    async def _replace(self, dead: HostState, target: Configuration) -> None:
        self._host = None
        self.error = f"the engine host (pid {dead.pid}) died and a fresh one is starting"
        reason = (
            f"Restart the engine: host {dead.host_id} (pid {dead.pid}) died with {dead.live_requests} live requests; "
            f"a fresh one starts with {target}."
        )
        decision = Decision(DecisionKind.REDEPLOY, reason, target)
        record = await self._decisions.record(decision, Configuration(dead.enforced))
        attempts, started_s = 0, self._clock.monotonic()
        while self._host is None:
            attempts += 1
            outcome = await self._attempt(decision)
            lasted_s = self._clock.monotonic() - started_s
            lost = {"attempts": float(attempts), "live_requests": float(dead.live_requests)}
            await self._decisions.end(record, replace(outcome, duration_s=lasted_s, measurements=lost))
            if self._host is None:
                await self._clock.sleep(min(_LONGEST_WAIT_S, 2.0**attempts))

    async def _attempt(self, decision: Decision) -> Outcome:
        try:
            fresh = await self._launcher.restart(decision.target)
            host = self._client or fresh
            state = await host.state()
        except ReconfigureError as failure:
            self.error = str(failure)
            return Outcome(OutcomeKind.FAILED, str(failure), None, 0.0)
        self._is_there(host, state)
        kind, detail = verdict(decision, None, state)
        return Outcome(kind, f"host {state.host_id} serves: {detail}", Configuration(state.enforced), 0.0)


def _is_gone(pid: int) -> bool:
    """Whether the process has ended; one that only waits to be reaped has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return False
