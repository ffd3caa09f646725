"""Changes by the calendar: schedules that begin, and temporary objectives that are over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.decisions import Decisions, Handled
from reconfigure_daemon.control_loop.intents import new_intent
from reconfigure_daemon.control_loop.snapshots import space_and_enforced, target_of
from reconfigure_daemon.control_loop.standing_orders import StandingOrders
from reconfigure_daemon.errors import ActionInProgress, EngineHostUnreachable, ReconfigureError
from reconfigure_daemon.ports import HostState
from reconfigure_daemon.schedules import Calendar
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision import after_expiry, is_over, span_due
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace
from reconfigure_policies.domain.decision import Decision, DecisionKind
from reconfigure_policies.domain.objective import IntentKind, OperatorIntent
from reconfigure_policies.domain.schedule import ScheduledSpan

log = logging.getLogger(__name__)

#: So much of the calendar is told at once.
_MOST_COMING = 500


class CalendarWatch:
    """Turns what is due into intents.

    It asks the calendar of the settings in force at each turn, so a reload needs no more than that.

    Args:
        settings, clock, orders, decisions: the control loop's own.
        act: carries out an intent.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        clock: Clock,
        orders: StandingOrders,
        decisions: Decisions,
        act: Callable[[OperatorIntent], Awaitable[Handled]],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._orders = orders
        self._decisions = decisions
        self._act = act
        self._built_from: Settings | None = None
        self._calendar = Calendar()
        self._held_back: object = None
        self._lock = asyncio.Lock()

    @property
    def calendar(self) -> Calendar:
        """The schedules of the settings in force."""
        settings = self._settings()
        if settings is not self._built_from:
            self._built_from, self._calendar = settings, settings.calendar()
        return self._calendar

    def in_force(self) -> ScheduledSpan | None:
        """The span that holds now by the calendar."""
        return self.calendar.at(self._clock.wall())

    def next(self) -> ScheduledSpan | None:
        """What begins next."""
        return self.calendar.next(self._clock.wall())

    def coming(self, for_s: float) -> list[ScheduledSpan]:
        """What begins within a time from now, soonest first; at most 500 spans."""
        now = self._clock.wall()
        return self.calendar.coming(now, now + for_s, _MOST_COMING)

    def wants(self) -> bool:
        """Whether something is due and nothing by the calendar is under way."""
        return not self._lock.locked() and (self._due() is not None or self._is_over())

    async def turn(self, state: HostState) -> None:
        """Do what is due, unless the operator has paused the daemon.

        A schedule that begins goes before a temporary objective that is over: what that one covered would come back
        only to be left again.
        """
        async with self._lock:
            span, over = self._due(), self._is_over()
            if self._orders.state.paused:
                await self._hold_back(state, span)
            elif span is not None:
                await self._begin(span)
            elif over:
                await self._end()

    def _is_over(self) -> bool:
        return is_over(self._orders.state, self._clock.wall())

    def _due(self) -> ScheduledSpan | None:
        now, standing = self._clock.wall(), self._orders.state
        followed = standing.scheduled
        if followed is not None and not self.calendar.has(followed):
            followed = None
        return span_due(self.calendar.at(now), followed, standing, now)

    async def _begin(self, span: ScheduledSpan) -> None:
        """Ask for a span's objective; one that comes late still ends in time."""
        source = f"schedule {span.schedule}"
        intent = new_intent(self._clock, IntentKind.OBJECTIVE, source, objective=span.objective)
        if await self._asked(replace(intent, expires_at=span.ends_at), f"{source} wants {span.objective}"):
            await self._orders.followed(span)

    async def _end(self) -> None:
        """Return to what the temporary objective covered; that it is over is a fact, however this goes."""
        following, configuration = after_expiry(self._orders.state, self._clock.wall())
        objective = following.objective
        intent = new_intent(self._clock, IntentKind.OBJECTIVE, "schedule", objective=objective, changes=configuration)
        await self._asked(intent, f"objective {objective} is back")

    async def _asked(self, intent: OperatorIntent, why: str) -> bool:
        """Carry out an intent that nobody waits for, so that a refusal is a decision to keep.

        Returns:
            Whether it was dealt with; a busy or silent engine is asked again later.
        """
        try:
            await self._act(intent)
        except (ActionInProgress, EngineHostUnreachable) as obstacle:
            log.info("a change by the calendar waits: %s", obstacle)
            return False
        except (ReconfigureError, ConfigurationOutsideSpace) as refusal:
            target = target_of(self._settings(), self._orders.state)
            decision = Decision(DecisionKind.KEEP, f"Keep {target} although {why}: {refusal}.", target, intent=intent)
            record = await self._decisions.record(decision, target)
            if intent.source == "schedule":
                await self._orders.follow(record)
        return True

    async def _hold_back(self, state: HostState, span: ScheduledSpan | None) -> None:
        """Say once that an objective stays although it is over or another one is due."""
        standing = self._orders.state
        what: object = span or standing.objective_until
        if self._held_back == what:
            return
        self._held_back = what
        _, enforced = space_and_enforced(self._settings(), state)
        why = "its time is over" if span is None else f"schedule {span.schedule} wants {span.objective}"
        reason = (
            f"Keep objective {standing.objective} although {why}: automatic changes are paused; "
            f"`reconfigure resume` lets it {'end' if span is None else 'begin'}."
        )
        await self._decisions.record(Decision(DecisionKind.KEEP, reason, enforced), enforced)
