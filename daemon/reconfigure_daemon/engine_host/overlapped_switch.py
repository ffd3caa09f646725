"""The overlapped switch: boot, warm up, pre-copy, move the streams group by group, retire; and the way back.

From the first copy on newcomers begin in the new core, together with whoever still waits for a first token in the old
one: what is left to move only becomes less. Streams move in small groups, each copied ahead once more right before its
turn, so that a stream waits only for the few tokens its own group has left to compute, and all others go on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core, CoreBooter
from reconfigure_daemon.engine_host.live_requests import LiveRequest
from reconfigure_daemon.engine_host.replay import precopy_request
from reconfigure_daemon.engine_host.side_by_side import at_half_pace, share_processors, taking_turns, unpaced
from reconfigure_daemon.engine_host.switch import LOOK_EVERY_S, Switch, SwitchPlan, is_dead
from reconfigure_daemon.ports import SwitchProgress

PRECOPY_ROUNDS = 6
PRECOPY_ENOUGH_S = 0.1  # a round this short leaves little for the groups
COPIED_AT_ONCE_TOKENS = 8192  # a newcomer's prompt waits behind no more than this, about 0.2 s of a GPU with a 7B model
GROUP_COPY_S = 0.1  # streams move in groups that take at most about this long to copy ahead
LARGEST_GROUP = 16
GROUP_PATIENCE_S = 2.0  # a stream may wait its turn behind a smaller running cap; the next group then goes on
STEP_PATIENCE_S = 0.25  # longer than a step of the old core takes
RETIRE_GRACE_S = 3.0  # an idle core ends within one


class OverlappedSwitch(Switch):
    """The new core boots beside the old one, and no stream waits for it."""

    def __init__(
        self, router: CoreRouter, booter: CoreBooter, plan: SwitchPlan, report: Callable[[SwitchProgress], None]
    ) -> None:
        super().__init__(router, booter, plan, report)
        self._copies = 0
        self._copied_tokens: dict[str, int] = {}
        self._group_size = 1

    async def run(self) -> None:
        """See `Switch.run`."""
        old = self._router.serving
        async with at_half_pace(old):
            new = await self._boot(self._plan.configuration)
            try:
                with self._in_its_own_words(new):
                    async with unpaced(old), taking_turns(old):
                        await self._warm_up(new, old)
                        async with unpaced(new), taking_turns(new):
                            await self._precopy(old, new)
                            staying = await self._move_over(old, new)
                            await self._settle(new)
            except BaseException:
                await self._go_back(new, old)
                raise
        await self._retire(old, staying)

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
        batch = [precopy_request(live, self._copies, new.replica_for(live.number)) for live in streams]
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

    async def _retire(self, old: Core, staying: list[LiveRequest]) -> None:
        async with self._phase("retire"):
            try:
                if staying:
                    self._say("retire", f"{len(staying)} requests end on the old core")
                    await self._wait_until_ended(staying, old, self._router.serving)
            finally:
                self._router.detach(old)
                await self._booter.retire(old, 0 if is_dead(self._router.serving) else RETIRE_GRACE_S)

    async def _wait_until_ended(self, staying: list[LiveRequest], old: Core, new: Core) -> None:
        """Until the deadline; then, or if the old core dies, what is left goes on inexactly, which beats being cut off.

        If the new core dies, its recovery takes all requests, these included.
        """
        limit_s = time.monotonic() + self._plan.left_s()
        while not is_dead(old) and not is_dead(new) and time.monotonic() < limit_s:
            patience_s = min(LOOK_EVERY_S, max(0.0, limit_s - time.monotonic()))
            if await self._router.ledger.until(lambda: not self._alive(staying), patience_s):
                return
        try:
            if not is_dead(new):
                await self._router.move(self._alive(staying), new)
        except Exception:
            if not is_dead(new):
                raise

    async def _go_back(self, new: Core, old: Core) -> None:
        """The new core did not do: what it had taken over returns to the old one, which has never stopped."""
        self._router.serving = old
        try:
            if not is_dead(old):  # otherwise a recovery follows and takes everything
                await self._router.move([live for live in self._router.ledger if live.core == new.id], old)
        finally:
            await self._abandon(new)


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
