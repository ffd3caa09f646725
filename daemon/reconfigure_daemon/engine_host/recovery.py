"""A core died: bring every stream into a fresh one, from the ledger, a bounded number of times."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core, CoreBooter, CoreBootFailed
from reconfigure_policies.domain.configuration import Configuration

log = logging.getLogger(__name__)

BOOT_DEADLINE_S = 600.0


class Recovery:
    """Counts restarts; more than `restarts` within `window_s` means the engine cannot be kept alive."""

    def __init__(self, restarts: int, window_s: float) -> None:
        self._restarts = restarts
        self._window_s = window_s
        self._recent: deque[float] = deque()
        self.count = 0

    async def run(
        self, router: CoreRouter, booter: CoreBooter, dead: Core,
        make_config: Callable[[Configuration], Any], prepare: Callable[[Core], Any],
    ) -> None:  # fmt: skip
        """Replace a dead core; newcomers wait meanwhile.

        Raises:
            CoreBootFailed: when the bound is reached.
        """
        router.stop_admitting()
        retiring = asyncio.create_task(
            booter.retire(dead)
        )  # its processes are gone: streams need not wait for the rest
        try:
            core = await self._boot_within_bounds(booter, dead.configuration, make_config)
        finally:
            await retiring
        router.attach(core)
        router.serving = core
        core.first_answer = dead.first_answer
        await prepare(core)
        router.ledger.collect_stalls()
        await router.move(router.ledger, core)
        router.admit_again()
        log.info("core %d took over %d live requests after %.1f s", core.id, len(router.ledger), core.boot_s)

    async def _boot_within_bounds(
        self, booter: CoreBooter, configuration: Configuration, make_config: Callable[[Configuration], Any]
    ) -> Core:
        while True:
            self._count_restart()
            try:
                config = await asyncio.to_thread(make_config, configuration)
                return await booter.boot(config, configuration, BOOT_DEADLINE_S)
            except CoreBootFailed as failure:
                log.warning("restart of a core failed: %s", failure)

    def _count_restart(self) -> None:
        now_s = time.monotonic()
        while self._recent and now_s - self._recent[0] > self._window_s:
            self._recent.popleft()
        if len(self._recent) >= self._restarts:
            raise CoreBootFailed(
                f"{len(self._recent)} cores died within {self._window_s:.0f} s, and `switch.core_restarts` allows "
                f"{self._restarts}; see the engine host's log for their errors."
            )
        self._recent.append(now_s)
        self.count += 1
