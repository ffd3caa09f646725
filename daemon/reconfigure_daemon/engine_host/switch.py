"""A cold switch: what every way of it has in common, from booting the new core to streams that have gone on in it.

Nothing is paused. A stream is what the ledger says it is, prompt and tokens handed out, so it moves by being submitted
to the new core as it stands; whatever the old core still says about it is an echo and is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core, CoreBooter
from reconfigure_daemon.engine_host.live_requests import LiveRequest
from reconfigure_daemon.engine_host.replay import inexact_reason
from reconfigure_daemon.engine_host.warm_up import warm_up
from reconfigure_daemon.ports import SwitchMode, SwitchProgress
from reconfigure_policies.domain.configuration import Configuration

SETTLE_LIMIT_S = 60.0
SILENCE_LIMIT_S = 30.0
LOOK_EVERY_S = 0.25  # how soon the death of a core is noticed that nothing else would tell of

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
        reasoning: whether answers begin with reasoning, before which no grammar holds.
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


class Switch(ABC):
    """One switch of a router's serving core; used once."""

    def __init__(
        self, router: CoreRouter, booter: CoreBooter, plan: SwitchPlan, report: Callable[[SwitchProgress], None]
    ) -> None:
        self._router = router
        self._booter = booter
        self._plan = plan
        self._report = report
        self._begun_s = time.monotonic()
        self.record = SwitchRecord()

    @abstractmethod
    async def run(self) -> None:
        """Carry the plan out.

        Raises:
            CoreBootFailed, WarmUpWrong, TargetDied, TargetNotSettled, ConfigurationRefusedByVllm, TimeoutError: the
                target did not do; the old configuration serves again.
        """

    async def _config_of(self, configuration: Configuration) -> Any:
        return await asyncio.to_thread(self._plan.make_config, configuration)

    async def _boot(self, configuration: Configuration, config: Any = None) -> Core:
        """Boot a core; vLLM's config for it may have been made before."""
        async with self._phase("boot"):
            config = config or await self._config_of(configuration)
            core = await self._booter.boot(config, configuration, self._plan.left_s())
        self._router.attach(core)
        return core

    async def _warm_up(self, new: Core, old: Core | None) -> None:
        async with self._phase("warm_up"):
            await asyncio.wait_for(self._plan.prepare(new), self._plan.left_s())
            same_numbers = old is not None and not _numbers_differ(old.configuration, new.configuration)
            await asyncio.wait_for(warm_up(self._router, new, old if same_numbers else None), self._plan.left_s())

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
            if is_dead(new):
                raise TargetNotSettled("the new core died as it took the streams over")
            if time.monotonic() - new.heard_s > SILENCE_LIMIT_S:
                raise TargetNotSettled(f"the new core took streams over and was silent for {SILENCE_LIMIT_S:.0f} s")

    def _standing(self, streams: list[LiveRequest]) -> bool:
        return any(live.moved_s is not None for live in self._alive(streams))

    def _alive(self, requests: list[LiveRequest]) -> list[LiveRequest]:
        return [live for live in requests if self._router.ledger.get(live.request.request_id) is live]

    @contextlib.contextmanager
    def _in_its_own_words(self, new: Core) -> Iterator[None]:
        """A core that dies in here is a target that did not do: vLLM's error says why, whoever noticed first."""
        since = time.time()
        try:
            yield
        except Exception as failure:
            if not is_dead(new):
                raise
            raise TargetDied(self._booter.last_error(since) or "the new core died") from failure

    async def _abandon(self, core: Core) -> None:
        self._router.detach(core)
        await self._booter.retire(core)

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


def is_dead(core: Core) -> bool:
    """Whether a core has ended by itself, as far as its client knows."""
    return bool(core.client.resources.engine_dead)


def _samples(live: LiveRequest) -> bool:
    """Whether tokens are drawn: drafts are accepted by draws of their own, so that a seed gives others with them."""
    return bool(getattr(live.request.sampling_params, "temperature", 0))


def _numbers_differ(old: Configuration, new: Configuration) -> bool:
    return any(name in NUMERIC_KNOBS for name in old.changes_to(new))
