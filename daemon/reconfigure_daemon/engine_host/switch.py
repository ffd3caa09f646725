"""The cold switch: boot, warm up, pre-copy, move the streams group by group, retire; and the ways back.

Nothing is paused. A stream is what the ledger says it is, prompt and tokens handed out, so it moves by being submitted
to the new core as it stands; whatever the old core still says about it is an echo and is dropped. From the first copy
on newcomers begin in the new core, together with whoever still waits for a first token in the old one: what is left to
move only becomes less. Streams move in small groups, each copied ahead once more right before its turn, so that a
stream waits only for the few tokens its own group has left to compute, and all others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconfigure_daemon.engine_host.arguments import ConfigurationRefusedByVllm, last_line
from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core, CoreBooter
from reconfigure_daemon.engine_host.live_requests import LiveRequest
from reconfigure_daemon.engine_host.replay import inexact_reason, precopy_request
from reconfigure_daemon.engine_host.side_by_side import share_processors, taking_turns, unpaced
from reconfigure_daemon.engine_host.warm_up import warm_up
from reconfigure_daemon.ports import SwitchMode, SwitchProgress
from reconfigure_policies.domain.configuration import Configuration

PRECOPY_ROUNDS = 6
PRECOPY_ENOUGH_S = 0.1  # a round this short leaves little for the groups
COPIED_AT_ONCE_TOKENS = 8192  # a newcomer's prompt waits behind no more than this, about 0.2 s of a GPU with a 7B model
GROUP_COPY_S = 0.1  # streams move in groups that take at most about this long to copy ahead
LARGEST_GROUP = 16
GROUP_PATIENCE_S = 2.0  # a stream may wait its turn behind a smaller running cap; the next group then goes on
STEP_PATIENCE_S = 0.25  # longer than a step of the old core takes
SETTLE_LIMIT_S = 60.0
SILENCE_LIMIT_S = 30.0
LOOK_EVERY_S = 0.25  # how soon the death of a core is noticed that nothing else would tell of
RETIRE_GRACE_S = 3.0  # an idle core ends within one

#: Cold knobs that change the numbers a core computes; after them no replay is token-identical.
NUMERIC_KNOBS = frozenset(
    {"dtype", "kv_cache_dtype", "tensor_parallel_size", "quantization", "enforce_eager", "cudagraph_mode"}
)


class TargetDied(Exception):
    """The new core ended after it had booted; the message is vLLM's own last error, where it left one."""


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
        self._copies = 0
        self._copied_tokens: dict[str, int] = {}
        self._group_size = 1
        self.record = SwitchRecord()

    async def run(self) -> None:
        """Carry the plan out.

        Raises:
            CoreBootFailed, WarmUpWrong, TargetDied, TargetNotSettled, ConfigurationRefusedByVllm, TimeoutError: the
                target did not do; the old configuration serves again.
        """
        if self._plan.mode is SwitchMode.OVERLAPPED:
            await self._overlapped()
        else:
            await self._one_after_the_other()

    # --- overlapped: the new core boots beside the old one --------------------------------------------------------

    async def _overlapped(self) -> None:
        old = self._router.serving
        async with unpaced(old):
            new = await self._boot(self._plan.configuration)
            try:
                with self._in_its_own_words(new):
                    async with taking_turns(old):
                        await self._warm_up(new, old)
                        async with unpaced(new), taking_turns(new):
                            await self._precopy(old, new)
                            staying = await self._move_over(old, new)
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

    async def _precopy(self, old: Core, new: Core) -> None:
        """Let newcomers begin in the new core, and send every stream's tokens ahead, again and again.

        Until a round is short or no shorter than the last. Once is enough where a round is spread over many steps: each
        stream is copied again right before it moves.
        """
        async with self._phase("pre_copy"):
            await self._begin_in(new, old)
            before_s = math.inf
            for round_number in range(1 if share_processors(old) else PRECOPY_ROUNDS):
                streams = self._divide(old)[0]
                took_s = await self._copy_round(streams, old, new)
                self._group_size = group_size(len(streams), took_s)
                self._say("pre_copy", f"round {round_number + 1}: {len(streams)} streams in {took_s * 1e3:.0f} ms")
                if took_s < PRECOPY_ENOUGH_S or took_s > 0.8 * before_s:
                    break
                before_s = took_s

    async def _begin_in(self, new: Core, old: Core) -> None:
        """Newcomers go to the new core from here on, and so does whoever waits for a first token: it has no stream yet.

        The old core would have to compute their prompts while it shares its device, and then they would be copied.
        """
        self._router.ledger.collect_stalls()
        self._router.serving = new
        moving = self._divide(old)[0]
        self.record.live_requests = len(moving)
        waiting = [live for live in moving if not live.generated]
        self.record.replayed_tokens += await self._router.move(waiting, new)

    async def _copy_round(self, streams: list[LiveRequest], old: Core, new: Core) -> float:
        """So many at once as newcomers can wait for, or one by one in the gaps between the old core's steps.

        Returns the seconds of copying.
        """
        spent_s = 0.0
        if share_processors(old):
            for live in streams:
                await self._until_served_once_more(streams)
                spent_s += await self._copy_ahead([live], new)
        else:
            for part in parts_of(streams, self._copied_tokens):
                spent_s += await self._copy_ahead(self._alive(part), new)
        return spent_s

    async def _copy_ahead(self, streams: Sequence[LiveRequest], new: Core) -> float:
        """Put the streams' tokens so far into the new core's prefix cache; returns the seconds it took."""
        if not new.config.cache_config.enable_prefix_caching:
            return 0.0
        begun_s = time.monotonic()
        self._copies += 1
        batch = [precopy_request(live, self._copies) for live in streams]
        copying = self._router.run_private(new, [request for request in batch if request is not None])
        self._copied_tokens |= {live.request.request_id: live.tokens for live in streams}
        await asyncio.wait_for(copying, self._plan.left_s())
        return time.monotonic() - begun_s

    async def _move_over(self, old: Core, new: Core) -> list[LiveRequest]:
        """Streams follow group by group; returns those that end on the old core."""
        async with self._phase("move"):
            moving, staying = self._divide(old)
            for start in range(0, len(moving), self._group_size):
                group = self._alive(moving[start : start + self._group_size])
                await self._copy_ahead(group, new)
                await self._until_served_once_more(group)
                self.record.replayed_tokens += await self._router.move(group, new)
                await self._until_gone_on(group, new, GROUP_PATIENCE_S)
        return staying

    async def _until_served_once_more(self, group: list[LiveRequest]) -> None:
        """Wait for a token of any of these: a stream that leaves right after one stands still for the shortest time."""
        now_s = time.monotonic()
        flowing = [live for live in group if live.last_output_s is not None]

        def served() -> bool:
            return not flowing or any((live.last_output_s or 0.0) > now_s for live in flowing)

        await self._router.ledger.until(served, STEP_PATIENCE_S)

    async def _settle(self, new: Core) -> None:
        """Wait until every moved stream has gone on in the new core, or the core has shown that it gets there."""
        async with self._phase("settle"):
            await self._until_gone_on([r for r in self._router.ledger if r.core == new.id], new, SETTLE_LIMIT_S)
            self.record.stalls_s = self._router.ledger.collect_stalls()

    async def _until_gone_on(self, streams: list[LiveRequest], new: Core, patience_s: float) -> None:
        """Wait for the streams' first output from the new core; only its silence or death condemns it."""
        limit_s, new.heard_s = time.monotonic() + patience_s, time.monotonic()
        while time.monotonic() < limit_s:
            if await self._router.ledger.until(lambda: not self._standing(streams), LOOK_EVERY_S):
                return
            if _dead(new):
                raise TargetNotSettled("the new core died as it took the streams over")
            if time.monotonic() - new.heard_s > SILENCE_LIMIT_S:
                raise TargetNotSettled(f"the new core took streams over and was silent for {SILENCE_LIMIT_S:.0f} s")

    def _standing(self, streams: list[LiveRequest]) -> bool:
        return any(live.moved_s is not None for live in self._alive(streams))

    async def _retire(self, old: Core, staying: list[LiveRequest]) -> None:
        async with self._phase("retire"):
            try:
                if staying:
                    self._say("retire", f"{len(staying)} requests end on the old core")
                    await self._wait_until_ended(staying, old, self._router.serving)
            finally:
                self._router.detach(old)
                await self._booter.retire(old, 0 if _dead(self._router.serving) else RETIRE_GRACE_S)

    async def _wait_until_ended(self, staying: list[LiveRequest], old: Core, new: Core) -> None:
        """Until the deadline; then, or if the old core dies, what is left goes on inexactly, which beats being cut off.

        If the new core dies, its recovery takes all requests, these included.
        """
        limit_s = time.monotonic() + self._plan.left_s()
        while not _dead(old) and not _dead(new) and time.monotonic() < limit_s:
            patience_s = min(LOOK_EVERY_S, max(0.0, limit_s - time.monotonic()))
            if await self._router.ledger.until(lambda: not self._alive(staying), patience_s):
                return
        try:
            if not _dead(new):
                await self._router.move(self._alive(staying), new)
        except Exception:
            if not _dead(new):
                raise

    def _alive(self, requests: list[LiveRequest]) -> list[LiveRequest]:
        return [live for live in requests if self._router.ledger.get(live.request.request_id) is live]

    # --- the ways back -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _in_its_own_words(self, new: Core) -> Iterator[None]:
        """A core that dies in here is a target that did not do: vLLM's error says why, whoever noticed first."""
        since = time.time()
        try:
            yield
        except Exception as failure:
            if not _dead(new):
                raise
            raise TargetDied(self._booter.last_error(since) or "the new core died") from failure

    async def _go_back(self, new: Core, old: Core) -> None:
        """The new core did not do: what it had taken over returns to the old one, which has never stopped."""
        self._router.serving = old
        try:
            if not _dead(old):  # otherwise a recovery follows and takes everything
                await self._router.move([live for live in self._router.ledger if live.core == new.id], old)
        finally:
            await self._abandon(new)

    async def _abandon(self, core: Core) -> None:
        self._router.detach(core)
        await self._booter.retire(core)

    # --- one after the other: requests wait inside the host --------------------------------------------------------

    async def _one_after_the_other(self) -> None:
        """Sequential moves live streams through the gap; drain lets them end first."""
        old = self._router.serving
        config = await asyncio.to_thread(self._plan.make_config, self._plan.configuration)  # refusals come first
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
            await self._serve_from(config, self._plan.configuration)
        except Exception as failure:
            self._say("roll_back", last_line(str(failure)))
            self._router.stop_admitting()
            self._router.serving = old  # if this fails as well, its configuration is what a recovery boots
            old_config = await asyncio.to_thread(self._plan.make_config, old.configuration)
            self._plan.deadline_s = max(self._plan.deadline_s, time.monotonic() + 300)  # the way back needs its time
            await self._serve_from(old_config, old.configuration)
            raise

    async def _serve_from(self, config: Any, configuration: Configuration) -> None:
        """Boot a core and bring it all that waits; nothing of it is left if that fails."""
        core = await self._start(config, configuration)
        try:
            with self._in_its_own_words(core):
                self._router.serving = core
                self.record.live_requests = len(self._router.ledger)
                self.record.replayed_tokens = await self._router.move(list(self._router.ledger), core)
                self._router.admit_again()
                await self._settle(core)
        except BaseException:
            await self._abandon(core)
            raise

    async def _start(self, config: Any, configuration: Configuration) -> Core:
        async with self._phase("boot"):
            core = await self._booter.boot(config, configuration, self._plan.left_s())
        self._router.attach(core)
        try:
            with self._in_its_own_words(core):
                await self._warm_up(core, None)
        except BaseException:
            await self._abandon(core)
            raise
        return core

    # --- shared ----------------------------------------------------------------------------------------------------

    def _divide(self, old: Core) -> tuple[list[LiveRequest], list[LiveRequest]]:
        """The old core's live requests: those that move, and those that stay until they end.

        A request that has generated nothing yet goes on exactly whatever the new core's numbers are.
        """
        live = [r for r in self._router.ledger if r.core == old.id]
        numbers = _numbers_differ(old.configuration, self._plan.configuration)
        draws = "speculative" in old.configuration.changes_to(self._plan.configuration)
        inexact = [
            r
            for r in live
            if (r.generated and (numbers or (draws and _samples(r))))
            or inexact_reason(r, self._plan.reasoning) is not None
        ]
        if self._plan.inexact == "drain":
            return [r for r in live if r not in inexact], inexact
        self.record.inexact_requests = max(len(inexact), self.record.inexact_requests)
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


def parts_of(streams: Iterable[LiveRequest], copied_tokens: Mapping[str, int]) -> Iterator[list[LiveRequest]]:
    """Streams in turn, as many at a time as have about `COPIED_AT_ONCE_TOKENS` to copy; at least one.

    Args:
        streams: to copy ahead.
        copied_tokens: how many of each were copied before, by request id.
    """
    part: list[LiveRequest] = []
    tokens = 0
    for live in streams:
        left = live.tokens - copied_tokens.get(live.request.request_id, 0)
        if part and tokens + left > COPIED_AT_ONCE_TOKENS:
            yield part
            part, tokens = [], 0
        part.append(live)
        tokens += left
    if part:
        yield part


def group_size(streams: int, copied_in_s: float) -> int:
    """How many streams to move at a time, judged by how long a round over all of them took."""
    if not streams or not copied_in_s:
        return LARGEST_GROUP
    return max(1, min(LARGEST_GROUP, round(GROUP_COPY_S * streams / copied_in_s)))


def _dead(core: Core) -> bool:
    return bool(core.client.resources.engine_dead)


def _samples(live: LiveRequest) -> bool:
    """Whether tokens are drawn: drafts are accepted by draws of their own, so that a seed gives others with them."""
    return bool(getattr(live.request.sampling_params, "temperature", 0))


def _numbers_differ(old: Configuration, new: Configuration) -> bool:
    return any(name in NUMERIC_KNOBS for name in old.changes_to(new))


__all__ = ["ConfigurationRefusedByVllm", "Switch", "SwitchPlan", "SwitchRecord", "TargetDied", "TargetNotSettled"]
