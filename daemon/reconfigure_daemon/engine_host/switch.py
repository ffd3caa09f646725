"""The cold switch: boot, warm up, pre-copy, cut, settle, retire; and the way back from each of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from reconfigure_daemon.engine_host.arguments import ConfigurationRefusedByVllm, last_line
from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core, CoreBooter, CoreBootFailed
from reconfigure_daemon.engine_host.live_requests import LiveRequest
from reconfigure_daemon.engine_host.replay import inexact_reason, precopy_request
from reconfigure_daemon.engine_host.warm_up import WarmUpWrong, warm_up
from reconfigure_daemon.ports import SwitchMode, SwitchProgress
from reconfigure_policies.domain.configuration import Configuration

PRECOPY_ROUNDS = 10
PRECOPY_ENOUGH_S = 0.05  # a round this short leaves little for the cut
SLOW_FROM_ROUND = 2
SLOWED_FACTOR = 3.0
SLOWED_S = (0.03, 0.15)  # bounds of the old core's step interval in the last rounds
QUIESCE_TIMEOUT_S = 30.0
SETTLE_LIMIT_S = 60.0
SILENCE_LIMIT_S = 30.0

#: Cold knobs that change the numbers a core computes; after them no replay is token-identical.
NUMERIC_KNOBS = frozenset({"dtype", "kv_cache_dtype", "tensor_parallel_size", "quantization", "enforce_eager"})


class TargetNotSettled(Exception):
    """The new core took the streams but did not go on with them."""


@dataclass
class SwitchPlan:
    """What to move to, how, and until when.

    Attributes:
        configuration: the target.
        make_config: builds the target's `VllmConfig`; may refuse.
        mode: decided, never `auto`.
        deadline_s: monotonic.
        inexact: `drain` keeps streams that cannot go on exactly on the old core until they end.
        prepare: run on a core before it gets requests: binds it, sets hot knobs, loads adapters.
    """

    configuration: Configuration
    make_config: Callable[[Configuration], Any]
    mode: SwitchMode
    deadline_s: float
    inexact: str
    prepare: Callable[[Core], Any]
    reasoning: bool = False

    def left_s(self) -> float:
        """Time until the deadline, at least a moment."""
        return max(0.1, self.deadline_s - time.monotonic())


@dataclass
class SwitchRecord:
    """What was measured on the way."""

    live_requests: int = 0
    replayed_tokens: int = 0
    inexact_requests: int = 0
    stalls_s: list[float] = field(default_factory=list)
    phases_s: dict[str, float] = field(default_factory=dict)


class Switch:
    """One switch of a router's serving core; used once."""

    def __init__(
        self, router: CoreRouter, booter: CoreBooter, plan: SwitchPlan, report: Callable[[SwitchProgress], None]
    ) -> None:
        self._router = router
        self._booter = booter
        self._plan = plan
        self._report = report
        self._begun_s = time.monotonic()
        self._interval_before_s: float | None = None
        self.record = SwitchRecord()

    async def run(self) -> None:
        """Carry the plan out.

        Raises:
            CoreBootFailed, WarmUpWrong, TargetNotSettled, ConfigurationRefusedByVllm, TimeoutError: the target
                did not do; the old configuration serves again.
        """
        if self._plan.mode is SwitchMode.OVERLAPPED:
            await self._overlapped()
        else:
            await self._one_after_the_other()

    # --- overlapped: the new core boots beside the old one --------------------------------------------------------

    async def _overlapped(self) -> None:
        old = self._router.serving
        new = await self._boot(self._plan.configuration)
        try:
            await self._warm_up(new, old)
            await self._precopy(new)
            staying = await self._cut(old, new)
        except BaseException:
            await self._speed_up(old)
            await self._abandon(new)
            raise
        try:
            await self._settle(new)
        except BaseException:
            await self._go_back(new, old)
            raise
        await self._retire(old, staying)

    async def _boot(self, configuration: Configuration) -> Core:
        async with self._phase("boot"):
            config = await asyncio.to_thread(self._plan.make_config, configuration)
            core = await self._booter.boot(config, configuration, self._plan.left_s())
        self._router.attach(core)
        return core

    async def _warm_up(self, new: Core, old: Core | None) -> None:
        async with self._phase("warm_up"):
            await asyncio.wait_for(self._plan.prepare(new), self._plan.left_s())
            same_numbers = old is not None and not _numbers_differ(old.configuration, new.configuration)
            await asyncio.wait_for(warm_up(self._router, new, old if same_numbers else None), self._plan.left_s())

    async def _precopy(self, new: Core) -> None:
        """Send the live requests' tokens ahead, again and again, until a round leaves little to do."""
        if not new.config.cache_config.enable_prefix_caching:
            return
        async with self._phase("pre_copy"):
            before_s = await self._precopy_round(new, 0)
            for round_number in range(1, PRECOPY_ROUNDS):
                if before_s < PRECOPY_ENOUGH_S:
                    break
                if round_number == SLOW_FROM_ROUND:
                    await self._slow_down(self._router.serving)
                took_s = await self._precopy_round(new, round_number)
                if round_number > SLOW_FROM_ROUND and took_s > 0.8 * before_s:
                    break
                before_s = took_s

    async def _slow_down(self, old: Core) -> None:
        """Pace the old core for the last rounds, as live migration slows a guest that writes too fast.

        Two cores share the device then; without this a round takes as long as the old core needs to generate what
        the next round must copy, and the rounds stop shrinking. For some hundred milliseconds every stream is a few
        times slower, instead of standing still for as long at the cut.
        """
        interval_s = min(max(SLOWED_FACTOR * self._router.ledger.typical_gap_s(), SLOWED_S[0]), SLOWED_S[1])
        with contextlib.suppress(Exception):  # a core that cannot be slowed only makes the cut longer
            self._interval_before_s = (await old.utility("reconfigure_read"))["enforced"]["pacing_interval_s"]
            await old.utility("reconfigure_set_knobs", {"pacing_interval_s": interval_s})
            self._say("pre_copy", f"old core slowed to a step each {interval_s * 1e3:.0f} ms")

    async def _speed_up(self, old: Core) -> None:
        """Undo `_slow_down`, for an old core that serves on."""
        if self._interval_before_s is not None:
            with contextlib.suppress(Exception):  # a dead core has no pace
                await old.utility("reconfigure_set_knobs", {"pacing_interval_s": self._interval_before_s})

    async def _precopy_round(self, new: Core, round_number: int) -> float:
        begun_s = time.monotonic()
        batch = [precopy_request(live, round_number) for live in self._movable()]
        copies = self._router.run_private(new, [request for request in batch if request is not None])
        await asyncio.wait_for(copies, self._plan.left_s())
        took_s = time.monotonic() - begun_s
        self._say("pre_copy", f"round {round_number + 1}: {len(batch)} requests in {took_s * 1e3:.0f} ms")
        return took_s

    async def _cut(self, old: Core, new: Core) -> list[LiveRequest]:
        """Move the streams at one point of each; returns those that end on the old core."""
        async with self._phase("cut"):
            self._router.stop_admitting()
            try:
                await self._next_output(old)
                await self._quiesce(old)
                self._router.ledger.collect_stalls()
                moving, staying = self._divide()
                self.record.live_requests = len(moving)
                self._router.serving, new.heard_s = new, time.monotonic()
                self.record.replayed_tokens = await self._router.move(moving, new)
            except BaseException:
                await self._bring_back(old)
                raise
            finally:
                self._router.admit_again()
            await self._drop_copies(old, moving)
            if staying:
                await self._speed_up(old)
        return staying

    async def _next_output(self, old: Core) -> None:
        """Cut right after a step's outputs: a slowed core would otherwise add its interval to the stall."""
        heard_s = old.heard_s
        await self._router.ledger.until(lambda: old.heard_s != heard_s, SLOWED_S[1])

    async def _quiesce(self, old: Core) -> None:
        with contextlib.suppress(Exception) if old.client.resources.engine_dead else contextlib.nullcontext():
            await self._router.quiesce(old, min(QUIESCE_TIMEOUT_S, self._plan.left_s()))

    async def _drop_copies(self, old: Core, moved: Iterable[LiveRequest]) -> None:
        """The old core's own copies of the moved requests; it then runs on for those that stay."""
        with contextlib.suppress(Exception):  # an old core that died meanwhile has no copies
            await old.client.abort_requests_async([live.request.request_id for live in moved])
            await old.client.resume_scheduler_async()

    async def _settle(self, new: Core) -> None:
        """Wait until every moved stream has gone on in the new core, or the core has shown that it gets there.

        A stream may wait its turn behind a smaller running cap, so only silence condemns the core.
        """
        async with self._phase("settle"):
            limit_s = time.monotonic() + SETTLE_LIMIT_S
            while time.monotonic() < limit_s:
                if await self._router.ledger.until(lambda: self._all_went_on(new), timeout_s=0.25):
                    break
                if new.client.resources.engine_dead:
                    raise TargetNotSettled("the new core died as it took the streams over")
                if time.monotonic() - new.heard_s > SILENCE_LIMIT_S:
                    raise TargetNotSettled(
                        f"the new core took the streams over and was silent for {SILENCE_LIMIT_S:.0f} s"
                    )
            self.record.stalls_s = self._router.ledger.collect_stalls()

    def _all_went_on(self, new: Core) -> bool:
        return all(live.moved_s is None for live in self._router.ledger if live.core == new.id)

    async def _retire(self, old: Core, staying: list[LiveRequest]) -> None:
        async with self._phase("retire"):
            if staying:
                self._say("retire", f"{len(staying)} requests end on the old core")
                await self._wait_until_ended(staying)
            self._router.detach(old)
            await self._booter.retire(old)

    async def _wait_until_ended(self, staying: list[LiveRequest]) -> None:
        if not await self._router.ledger.until(lambda: not self._alive(staying), self._plan.left_s()):
            left = self._alive(staying)  # the deadline is here: going on inexactly beats being cut off
            await self._quiesce(self._core_of(left[0]))
            await self._router.move(left, self._router.serving)

    def _alive(self, requests: list[LiveRequest]) -> list[LiveRequest]:
        return [live for live in requests if self._router.ledger.get(live.request.request_id) is live]

    def _core_of(self, live: LiveRequest) -> Core:
        return next(core for core in self._router.cores() if core.id == live.core)

    # --- the ways back -------------------------------------------------------------------------------------------

    async def _abandon(self, new: Core) -> None:
        self._router.detach(new)
        await self._booter.retire(new)

    async def _bring_back(self, old: Core) -> None:
        """A cut that failed half-way: the old core still holds every request, and goes on with them."""
        self._router.serving = old
        for live in self._router.ledger:
            live.core, live.moved_s = old.id, None
        with contextlib.suppress(Exception):
            await old.client.resume_scheduler_async()

    async def _go_back(self, new: Core, old: Core) -> None:
        """The new core failed after the cut: its requests return to the old one, with what they got meanwhile."""
        self._router.stop_admitting()
        try:
            with contextlib.suppress(Exception):
                await self._router.quiesce(new, 2.0)
            self._router.serving = old
            await self._speed_up(old)
            await self._router.move([live for live in self._router.ledger if live.core == new.id], old)
        finally:
            self._router.admit_again()
        await self._abandon(new)

    # --- one after the other: requests wait inside the host --------------------------------------------------------

    async def _one_after_the_other(self) -> None:
        """Sequential moves live streams through the gap; drain lets them end first."""
        old = self._router.serving
        config = await asyncio.to_thread(self._plan.make_config, self._plan.configuration)  # refusals come first
        self._router.stop_admitting()
        try:
            waiting = await self._stop_old(old)
            await self._start_target_or_old(config, old, waiting)
        finally:
            self._router.admit_again()

    async def _stop_old(self, old: Core) -> list[LiveRequest]:
        if self._plan.mode is SwitchMode.DRAIN or self._plan.inexact == "drain":
            async with self._phase("drain"):
                draining = self._divide()[1] if self._plan.mode is SwitchMode.SEQUENTIAL else list(self._router.ledger)
                await self._drain(draining)
        async with self._phase("stop"):
            if self._plan.mode is SwitchMode.SEQUENTIAL:
                await self._quiesce(old)
            self._router.ledger.collect_stalls()
            self._router.detach(old)
            await self._booter.retire(old)
        return list(self._router.ledger)

    async def _drain(self, requests: list[LiveRequest]) -> None:
        if not await self._router.ledger.until(lambda: not self._alive(requests), self._plan.left_s()):
            raise TimeoutError("live requests did not end before the deadline; nothing was changed")

    async def _start_target_or_old(self, config: Any, old: Core, waiting: list[LiveRequest]) -> None:
        failure: BaseException | None = None
        try:
            new = await self._start(config, self._plan.configuration)
        except (CoreBootFailed, WarmUpWrong, TimeoutError) as failed:
            failure = failed
            self._say("roll_back", last_line(str(failed)))
            old_config = await asyncio.to_thread(self._plan.make_config, old.configuration)
            self._plan.deadline_s = max(self._plan.deadline_s, time.monotonic() + 300)  # the way back needs its time
            new = await self._start(old_config, old.configuration)
        self._router.serving, new.heard_s = new, time.monotonic()
        self.record.live_requests = len(waiting)
        self.record.replayed_tokens = await self._router.move(waiting, new)
        self._router.admit_again()
        await self._settle(new)
        if failure is not None:
            raise failure

    async def _start(self, config: Any, configuration: Configuration) -> Core:
        async with self._phase("boot"):
            core = await self._booter.boot(config, configuration, self._plan.left_s())
        self._router.attach(core)
        try:
            await self._warm_up(core, None)
        except BaseException:
            await self._abandon(core)
            raise
        return core

    # --- shared ----------------------------------------------------------------------------------------------------

    def _movable(self) -> list[LiveRequest]:
        return self._divide()[0]

    def _divide(self) -> tuple[list[LiveRequest], list[LiveRequest]]:
        """Live requests that move, and those that stay until they end."""
        live = [r for r in self._router.ledger if r.core == self._router.serving.id]
        numbers = _numbers_differ(self._router.serving.configuration, self._plan.configuration)
        inexact = [r for r in live if numbers or inexact_reason(r, self._plan.reasoning) is not None]
        if self._plan.inexact == "drain":
            return [r for r in live if r not in inexact], inexact
        self.record.inexact_requests = len(inexact)
        return live, []

    @contextlib.asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        self._say(name)
        begun_s = time.monotonic()
        try:
            yield
        finally:
            spent_s = time.monotonic() - begun_s
            self.record.phases_s[name] = round(self.record.phases_s.get(name, 0.0) + spent_s, 4)

    def _say(self, phase: str, detail: str = "") -> None:
        elapsed_s = time.monotonic() - self._begun_s
        self._report(SwitchProgress(phase=phase, elapsed_s=round(elapsed_s, 3), detail=detail))


def _numbers_differ(old: Configuration, new: Configuration) -> bool:
    return any(name in NUMERIC_KNOBS for name in old.changes_to(new))


__all__ = ["ConfigurationRefusedByVllm", "Switch", "SwitchPlan", "SwitchRecord", "TargetNotSettled"]
