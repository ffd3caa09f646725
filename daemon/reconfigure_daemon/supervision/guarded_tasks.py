"""Named tasks that restart with back-off; one that the daemon cannot do without ends it when it keeps failing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.errors import EssentialTaskDied, ReconfigureError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before a task starts again: doubling from the first wait up to the longest.

    Attributes:
        first_s: after the first failure.
        longest_s: the bound; a task that has run for this long counts as healthy and begins anew.
        attempts: failures in a row after which an essential task counts as dead.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    attempts: int = 5

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row, at least one."""
        return float(min(self.longest_s, self.first_s * 2 ** min(failures - 1, 32)))


@dataclass(frozen=True, slots=True)
class GuardedTask:
    """A coroutine that is meant to run until the daemon stops.

    Attributes:
        name: for the log, and of the asyncio task.
        body: called anew for each start.
        essential: whether the daemon ends with it. Otherwise it is started again for as long as the daemon runs.
    """

    name: str
    body: Callable[[], Awaitable[None]]
    essential: bool = False
    back_off: BackOff = BackOff()


async def run_guarded(tasks: Iterable[GuardedTask], clock: Clock) -> None:
    """Run all tasks until this coroutine is cancelled.

    Raises:
        EssentialTaskDied: if an essential one kept failing, or failed with an error that tells the operator what to
            do, which waiting does not mend; the others have been cancelled by then.
    """
    running = [asyncio.create_task(_guarded(task, clock), name=task.name) for task in tasks]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _guarded(task: GuardedTask, clock: Clock) -> None:
    failures = 0
    while True:
        started_s = clock.monotonic()
        error = await _run_once(task)
        failures = 1 if clock.monotonic() - started_s >= task.back_off.longest_s else failures + 1
        if task.essential and (failures >= task.back_off.attempts or isinstance(error, ReconfigureError)):
            raise EssentialTaskDied(task.name, failures, error) from error
        delay_s = task.back_off.delay_s(failures)
        told = isinstance(error, ReconfigureError)  # it says what to do; anything else is a fault of ours
        log.error(
            "task %s failed (%d in a row): %s; again in %.1f s",
            *(task.name, failures, error, delay_s),
            exc_info=None if told else error,
        )
        await clock.sleep(delay_s)


async def _run_once(task: GuardedTask) -> Exception:
    """Why the task ended: its error, or that it returned although it was meant to go on."""
    try:
        await task.body()
    except Exception as error:  # noqa: BLE001  # a guard exists to catch whatever its task raises
        return error
    return RuntimeError("it returned although it runs until the daemon stops")
