"""The sequential switch and the drained one: the old core ends before the new one boots, requests wait in the host."""

from __future__ import annotations

import time
from typing import Any

from reconfigure_daemon.engine_host.arguments import last_line
from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.live_requests import LiveRequest
from reconfigure_daemon.engine_host.switch import Switch
from reconfigure_daemon.ports import SwitchMode
from reconfigure_policies.domain.configuration import Configuration

WAY_BACK_S = 300.0  # at least, whatever the deadline left


class SequentialSwitch(Switch):
    """Where two cores have no room beside each other; live streams move through the gap, or end before it."""

    async def run(self) -> None:
        """Sequential moves live streams through the gap; drain lets them end first."""
        old = self._router.serving
        config = await self._config_of(self._plan.configuration)  # refusals come first
        self._router.stop_admitting()
        try:
            await self._stop_old(old)
            await self._start_target_or_old(config, old)
        finally:
            self._router.admit_again()

    async def _stop_old(self, old: Core) -> None:
        if self._plan.mode is SwitchMode.DRAIN or self._plan.inexact == "drain":
            async with self._phase("drain"):
                draining = (
                    self._divide(old)[1] if self._plan.mode is SwitchMode.SEQUENTIAL else list(self._router.ledger)
                )
                await self._drain(draining)
        async with self._phase("stop"):
            self._router.ledger.collect_stalls()
            await self._abandon(old)

    async def _drain(self, requests: list[LiveRequest]) -> None:
        if not await self._router.ledger.until(lambda: not self._alive(requests), self._plan.left_s()):
            raise TimeoutError("live requests did not end before the deadline; nothing was changed")

    async def _start_target_or_old(self, config: Any, old: Core) -> None:
        try:
            await self._serve_from(self._plan.configuration, config)
        except Exception as failure:
            self._say("roll_back", last_line(str(failure)))
            self._router.stop_admitting()
            self._router.serving = old  # if this fails as well, its configuration is what a recovery boots
            self._plan.deadline_s = max(self._plan.deadline_s, time.monotonic() + WAY_BACK_S)
            await self._serve_from(old.configuration)
            raise

    async def _serve_from(self, configuration: Configuration, config: Any = None) -> None:
        """Boot a core and bring it all that waits; nothing of it is left if that fails."""
        core = await self._boot(configuration, config)
        try:
            with self._in_its_own_words(core):
                await self._warm_up(core, None)
                self._router.serving = core
                self.record.live_requests = len(self._router.ledger)
                self.record.replayed_tokens = await self._router.move(list(self._router.ledger), core)
                self._router.admit_again()
                await self._settle(core)
        except BaseException:
            await self._abandon(core)
            raise
