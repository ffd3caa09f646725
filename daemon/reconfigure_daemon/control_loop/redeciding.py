"""The slow loop: decides again when there is an occasion, on forecasts, and otherwise keeps still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.decisions import Decisions
from reconfigure_daemon.control_loop.outlook import Outlook
from reconfigure_daemon.control_loop.sampling import Sampler
from reconfigure_daemon.control_loop.snapshots import snapshot_of, space_and_enforced, standing_still
from reconfigure_daemon.control_loop.standing_orders import StandingOrders
from reconfigure_daemon.ports import EngineHost, HostState, Journal, LoopMetrics
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision.governor import governed_knobs
from reconfigure_policies.decision.own_changes import after_window
from reconfigure_policies.decision.slow_loop import answer, canary_context, end_canary, look_ahead_s
from reconfigure_policies.decision.watch import answered, with_occasion
from reconfigure_policies.domain.configuration import ConfigurationSpace
from reconfigure_policies.domain.decision import Decision, DecisionKind, Snapshot
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.domain.history import Canary
from reconfigure_policies.domain.workload import WorkloadWindow

#: While nothing is learned, forecasts are asked for again after so many windows.
_ASK_AGAIN = 10


class Redeciding:
    """Watches windows, and turns occasions into decisions."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        orders: StandingOrders,
        sampler: Sampler,
        decisions: Decisions,
        outlook: Outlook,
        journal: Journal,
        metrics: LoopMetrics,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._orders = orders
        self._sampler = sampler
        self._decisions = decisions
        self._outlook = outlook
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._last: WorkloadWindow | None = None
        self._host_id: str | None = None
        self._unlearned = 0
        self._again_at: float | None = None
        self._answering: str | None = None
        self._withheld: str | None = None
        self._under: object = None
        self._ahead_s: float | None = None

    @property
    def standing_by(self) -> str | None:
        """Why it decides nothing by itself; None while it may."""
        if self._outlook.exists and self._outlook.learned:
            return self._why_withheld()
        return self._why_withheld() or f"nothing is learned yet: {self._outlook.describe()}"

    async def count(self) -> None:
        """Take in the arrivals that were sampled last, also while the engine is being changed."""
        batch, settings = self._sampler.batch, self._settings()
        if batch is None or not self._sampler.sees_traffic or not (self._outlook.exists and settings.decision.enabled):
            return
        if self._ahead_s is None:
            self._ahead_s = look_ahead_s(await self._journal.switch_measurements(), settings.decision.to_domain())
        self._outlook.count(batch.totals, self._ahead_s)

    async def look(self, state: HostState) -> bool:
        """Take in what was sampled since the last look; returns whether there is something to decide.

        Args:
            state: of an engine that serves and is not being changed.
        """
        windows = self._new_windows(state)
        before, self._withheld = self._withheld, self._why_withheld()
        if not self._outlook.exists or not self._settings().decision.enabled:
            return False
        await self._take_in(windows)
        if self._withheld is not None:
            return False
        if before is not None:
            self._remind("automatic changes go on")
        canary = self._orders.state.own.canary
        return self._outlook.watch.occasion is not None or (canary is not None and bool(windows))

    async def decide(self, state: HostState, *, governed: bool) -> Decision | None:
        """What to do now; None where nothing is known, or a canary is still watched.

        Args:
            state: as for `look`.
            governed: whether the governor moves hot knobs.
        """
        snapshot, canary = self._snapshot(state, governed), self._orders.state.own.canary
        self._under = self._standing()
        if canary is None or self._outlook.watch.is_urgent:
            return await self._decide_on_occasion(state, snapshot)
        return await self._decide_on_canary(canary, state, snapshot)

    async def carry_out(self, decision: Decision, host: EngineHost, state: HostState) -> None:
        """Store the decision, act, and store the outcome; not if something was ordered while it was being made.

        Raises:
            ActionInProgress: if another action came first; the occasion stays.
        """
        if self._why_withheld() is not None or self._standing() != self._under:
            return
        _, enforced = space_and_enforced(self._settings(), state)
        if decision.kind is DecisionKind.KEEP:
            await self._decisions.record(decision, enforced)
        else:
            await self._decisions.change(decision, enforced, host, "by the planner")
        if self._answering is not None and self._outlook.watch.occasion == self._answering:
            self._outlook.watch = answered(self._outlook.watch)

    def _new_windows(self, state: HostState) -> list[WorkloadWindow]:
        """Windows that were completed since the last look; those of another host are none of this one's."""
        seen = list(self._sampler.windows)
        known = next((index for index, each in enumerate(seen) if each is self._last), -1)
        self._last = seen[-1] if seen else None
        if state.host_id != self._host_id:
            self._host_id = state.host_id
            return []
        return seen[known + 1 :]

    async def _take_in(self, windows: list[WorkloadWindow]) -> None:
        own = self._orders.state.own
        if self._outlook.look(windows, own):
            shift = self._outlook.watch.shift
            self._metrics.observe_shift(() if shift is None else shift.factors)
        for window in windows:
            own = after_window(own, window)
        if windows:
            await self._orders.remember(own)
        self._unlearned += 0 if self._outlook.learned else len(windows)
        if self._unlearned >= _ASK_AGAIN:
            self._unlearned = 0
            self._remind("more was measured meanwhile")
        if self._again_at is not None and self._clock.wall() >= self._again_at:
            self._again_at = None
            self._remind("a redeploy is allowed again")

    def _why_withheld(self) -> str | None:
        """The operator's word against it; None if there is none."""
        standing = self._orders.state
        if not self._settings().decision.enabled:
            return "decision.enabled is false"
        if standing.paused:
            return "automatic changes are paused"
        if standing.pinned is not None:
            return f"{standing.pinned}; the next objective or `reconfigure resume` lets it go on"
        return None

    def _standing(self) -> object:
        """What was ordered, as far as it decides what is best."""
        standing = self._orders.state
        return standing.objective, standing.target

    def _remind(self, occasion: str) -> None:
        if self._outlook.watch.usual is not None:
            self._outlook.watch = with_occasion(self._outlook.watch, occasion)

    async def _decide_on_occasion(self, state: HostState, snapshot: Snapshot) -> Decision | None:
        occasion = self._answering = self._outlook.watch.occasion
        snapshot = await self._outlook.on(snapshot, standing_still(self._settings(), state))
        if occasion is None or not snapshot.forecasts:
            self._outlook.watch = answered(self._outlook.watch)
            return None
        settings, own = self._settings(), self._orders.state.own
        space, terms = space_and_enforced(settings, state)[0], settings.decision.to_domain()
        past = await self._journal.switch_measurements()
        self._ahead_s = look_ahead_s(past, terms)
        found = answer(occasion, snapshot, space, terms, own, past)
        self._show(snapshot, space)
        self._again_at = found.again_at
        return found.decision

    async def _decide_on_canary(self, canary: Canary, state: HostState, snapshot: Snapshot) -> Decision | None:
        self._answering = None
        windows, settings = self._outlook.watch.canary_windows, self._settings()
        terms, space = settings.decision.to_domain(), space_and_enforced(settings, state)[0]
        context = canary_context(canary, windows, snapshot.slo, terms)
        if context is None:
            return None
        there, before = await self._outlook.of((canary.configuration, canary.before), context)
        end = end_canary(canary, windows, (there, before), snapshot, space, terms, self._orders.state.own)
        expected = canary.expected if there is None else there.estimates
        self._show_check(expected.get("energy_per_output_token_j"), end.judgement.energy_per_output_token_j)
        await self._orders.remember(end.own)
        self._remind("its canary ended")
        return end.decision

    def _show_check(self, expected: Estimate | None, measured: float | None) -> None:
        if expected is not None and measured is not None:
            self._metrics.observe_forecast_check("energy_per_output_token_j", expected, measured)

    def _snapshot(self, state: HostState, governed: bool) -> Snapshot:
        settings = self._settings()
        _, enforced = space_and_enforced(settings, state)
        at, windows = self._clock.wall(), tuple(self._sampler.windows)
        snapshot = snapshot_of(settings, self._orders.state, enforced, windows, at, state.target, state.off_knobs)
        own = governed_knobs(with_clocks=settings.governor.clocks)
        return replace(snapshot, governed=own if governed else frozenset())

    def _show(self, snapshot: Snapshot, space: ConfigurationSpace) -> None:
        effective = space.effective(snapshot.enforced)
        present = (each for each in snapshot.forecasts if each.configuration == effective)
        self._metrics.observe_forecast(next(present, None))
