"""The control loop: samples the engine, does what is due, and carries out intents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.calendar_watch import CalendarWatch
from reconfigure_daemon.control_loop.decisions import Decisions, Handled
from reconfigure_daemon.control_loop.engine_keeper import EngineKeeper
from reconfigure_daemon.control_loop.governing import Governing
from reconfigure_daemon.control_loop.redeciding import Redeciding
from reconfigure_daemon.control_loop.sampling import Sampler
from reconfigure_daemon.control_loop.snapshots import space_and_enforced, target_of
from reconfigure_daemon.control_loop.standing_orders import StandingOrders
from reconfigure_daemon.errors import ActionInProgress, EngineHostUnreachable, ReconfigureError
from reconfigure_daemon.ports import ActionState, HostPhase, HostState, LoopMetrics, ProfileTraces, ProgressSink
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision import Plan
from reconfigure_policies.decision.governor import governed_knobs
from reconfigure_policies.domain.configuration import Configuration, ConfigurationOutsideSpace
from reconfigure_policies.domain.decision import Decision, DecisionKind, OutcomeKind
from reconfigure_policies.domain.history import DecisionRecord
from reconfigure_policies.domain.objective import IntentKind, OperatorIntent

log = logging.getLogger(__name__)

#: An engine host that answers later than this is not waited for within a tick; it may still serve its clients.
_PATIENCE_S = 5.0

_T = TypeVar("_T")


class ControlLoop:
    """Left alone it watches, and governs where it is told to; it acts on intents, one action at a time.

    Attributes:
        orders: what holds until somebody says otherwise.
        decisions: how intents become outcomes.
        sampler: what was last read.
        governing: what the daemon does by itself within seconds.
        redeciding: what it does by itself within minutes.
        calendar: what comes by the calendar.
        keeper: the engine host, or why there is none.
        last_tick_s: when the last tick ended, on the monotonic clock.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        clock: Clock,
        orders: StandingOrders,
        decisions: Decisions,
        keeper: EngineKeeper,
        sampler: Sampler,
        governing: Governing,
        redeciding: Redeciding,
        metrics: LoopMetrics,
    ) -> None:
        self.orders = orders
        self.decisions = decisions
        self.sampler = sampler
        self.keeper = keeper
        self.governing = governing
        self.calendar = CalendarWatch(settings, clock, orders, decisions, lambda intent: self._act(intent, None))
        self.redeciding = redeciding
        self.last_tick_s = clock.monotonic()
        self._settings = settings
        self._metrics = metrics
        self._started_at = clock.wall()
        self._clock = clock
        self._known_host_id: str | None = None
        self._actions: set[asyncio.Task[Any]] = set()
        self._governors: asyncio.Task[None] | None = None
        self._planner: asyncio.Task[None] | None = None

    @property
    def action(self) -> ActionState | None:
        """What runs now, here or in the engine host."""
        return self.decisions.slot.current or (self.sampler.state.action if self.sampler.state else None)

    @property
    def target(self) -> Configuration:
        """What the engine is meant to enforce; before anything was applied, what a fresh one starts with."""
        return target_of(self._settings(), self.orders.state)

    async def run(self, on_tick: Callable[[], None]) -> None:
        """Tick once per metering interval until cancelled."""
        due_s = self._clock.monotonic()
        while True:
            started_s = self._clock.monotonic()
            await self.tick()
            spent_s = self._clock.monotonic() - started_s
            self._metrics.observe_tick(spent_s, max(0.0, started_s - due_s), self._clock.wall())
            on_tick()
            pause_s = max(0.05, self._settings().metering.interval_s - spent_s)
            due_s = self._clock.monotonic() + pause_s
            await self._clock.sleep(pause_s)

    async def tick(self) -> None:
        """Sample once, then do what is due; an engine host that does not answer is noticed, not raised."""
        self.sampler.read_energy()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                state = await self.sampler.sample(self.keeper.visible)
        except TimeoutError:
            self._lost_sight(f"the engine host did not answer within {_PATIENCE_S:g} s")
        except ReconfigureError as silence:
            self._lost_sight(str(silence))
        else:
            self.keeper.answered(state)
            await self.redeciding.count()
            await self._do_what_is_due(state)
        report = self.governing.report()
        self._metrics.observe_governor(report.standing_by is None, report.energy_stretches, report.seen)
        self.last_tick_s = self._clock.monotonic()

    async def plan(self, intent: OperatorIntent) -> Plan | None:
        """What an intent would do and cost, or None for one that only pauses or resumes; nothing is changed.

        Raises:
            RequestRefused, ConfigurationOutsideSpace: if it cannot be carried out.
            EngineHostUnreachable: if there is no engine host to ask.
        """
        if _is_only_noted(intent):
            return None
        await self._let_the_governor_finish()
        return await self.decisions.plan(intent, self.keeper.host)

    async def submit(self, intent: OperatorIntent, on_progress: ProgressSink | None = None) -> Handled:
        """Carry out an intent and return with its outcome; it goes on even if whoever waits for it is cancelled.

        Raises:
            ActionInProgress: if another action runs.
            RequestRefused, ConfigurationOutsideSpace: if it cannot be carried out; nothing was changed.
            EngineHostUnreachable: if there is no engine host.
        """
        work = self._note(intent) if _is_only_noted(intent) else self._act(intent, on_progress)
        return await asyncio.shield(self._begin(work))

    async def profile(self, seconds: float) -> ProfileTraces:
        """Record where the running configuration's time goes; goes on even if whoever waits is cancelled.

        Raises:
            ActionInProgress: if another action runs.
            RequestRefused: if the engine was started without a profiler.
            EngineHostUnreachable: if there is no engine host.
        """
        await self._let_the_governor_finish()
        return await asyncio.shield(self._begin(self.decisions.profile(seconds, self.keeper.host)))

    async def close(self) -> None:
        """Let go of actions that run; the engine host sees them through, and the next start reads them back."""
        if self.decisions.slot.current is not None:
            log.warning("an action goes on in the engine host; its outcome is read back at the next start")
        for task in self._actions:
            task.cancel()
        await asyncio.gather(*self._actions, return_exceptions=True)

    def _lost_sight(self, reason: str) -> None:
        self.sampler.lost_sight()
        self.governing.interrupted(reason)
        self.keeper.silent(reason)

    def _begin(self, action: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(action)
        self._actions.add(task)
        task.add_done_callback(self._actions.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, even if nobody waits any more
        return task

    async def _act(self, intent: OperatorIntent, on_progress: ProgressSink | None) -> Handled:
        await self._let_the_governor_finish()
        host = self.keeper.host
        handled = await self.decisions.act(intent, host, tuple(self.sampler.windows), on_progress)
        if _may_hold(handled.record):
            clocks = self._settings().governor.clocks
            await self.orders.hear(intent, governed_knobs(with_clocks=clocks))
        with suppress(ReconfigureError):
            self.sampler.saw(await host.state())
        return handled

    async def _note(self, intent: OperatorIntent) -> Handled:
        """Pause or resume: possible at any time, also during an action and without an engine."""
        state = self.sampler.state
        enforced = self.target if state is None else space_and_enforced(self._settings(), state)[1]
        record = await self.decisions.record(self.decisions.note(intent, enforced), enforced)
        await self.orders.pause(intent.kind is IntentKind.PAUSE)
        return Handled(intent, None, record)

    async def _do_what_is_due(self, state: HostState) -> None:
        if self.decisions.slot.current is not None or state.action is not None or state.phase is not HostPhase.SERVING:
            if self._governors is not None and not self._governors.done():
                self.governing.looks_away()
            else:
                self.governing.interrupted("the engine is being changed")
            return
        certain = await self.decisions.settle(state)
        if certain and state.host_id != self._known_host_id:
            await self._welcome(state)
        if self.calendar.wants():
            self._begin(self.calendar.turn(state))
        if state.host_id == self._known_host_id:
            await self._redecide(state)
            self._govern(state)

    async def _redecide(self, state: HostState) -> None:
        """Decide again beside the loop, since forecasts may take a while; one at a time."""
        if await self.redeciding.look(state) and (self._planner is None or self._planner.done()):
            self._planner = self._begin(self._follow_the_planner(state))

    async def _follow_the_planner(self, state: HostState) -> None:
        """Nobody waits for the answer; what came between leaves the occasion for the next look."""
        try:
            decision = await self.redeciding.decide(state, governed=self.governing.standing_by is None)
            if decision is not None:
                await self._let_the_governor_finish()
                await self.redeciding.carry_out(decision, self.keeper.host, state)
        except (ActionInProgress, EngineHostUnreachable) as obstacle:
            log.debug("the planner gives way: %s", obstacle)
        except (ReconfigureError, ConfigurationOutsideSpace) as fault:
            log.warning("the planner decides nothing: %s", fault)
        except Exception:
            log.exception("the planner failed; the configuration stays")
            raise

    def _govern(self, state: HostState) -> None:
        decision = self.governing.turn(state)
        if decision is not None:
            self._governors = self._begin(self._follow_the_governor(decision, state))

    async def _follow_the_governor(self, decision: Decision, state: HostState) -> None:
        """Nobody waits for the answer, and a second later the governor looks again."""
        try:
            await self.governing.carry_out(decision, self.keeper.host, state)
        except (ActionInProgress, EngineHostUnreachable) as obstacle:
            log.debug("the governor gives way: %s", obstacle)

    async def _let_the_governor_finish(self) -> None:
        """An operator is not refused for the milliseconds that a hot knob takes."""
        if self._governors is not None:
            await asyncio.wait({self._governors}, timeout=_PATIENCE_S)

    async def _welcome(self, state: HostState) -> None:
        """A host that was not known: what it enforces is the truth."""
        _, enforced = space_and_enforced(self._settings(), state)
        reason = (
            f"Keep what engine host {state.host_id} (pid {state.pid}, {state.engine} {state.engine_version}, "
            f"{state.model}) enforces: {enforced}."
        )
        await self.decisions.record(Decision(DecisionKind.KEEP, reason, enforced), enforced)
        await self.orders.found(enforced, {knob.name for knob in self._settings().configuration_space().knobs})
        self._known_host_id = state.host_id
        if state.started_at < self._started_at:
            self._metrics.observe_adoption()


def _may_hold(record: DecisionRecord) -> bool:
    """Whether what was asked for is so, or may yet be."""
    return record.outcome is None or record.outcome.kind in (OutcomeKind.APPLIED, OutcomeKind.UNKNOWN)


def _is_only_noted(intent: OperatorIntent) -> bool:
    return intent.kind in (IntentKind.PAUSE, IntentKind.RESUME)
