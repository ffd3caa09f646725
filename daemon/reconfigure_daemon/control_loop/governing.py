"""The governor's place in the control loop: what it is shown, when it may act, and what becomes of its wishes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.decisions import Decisions
from reconfigure_daemon.control_loop.governor_leave import (
    counts,
    withheld_by_engine,
    withheld_by_meter,
    withheld_by_orders,
)
from reconfigure_daemon.control_loop.governor_sight import GovernorSight
from reconfigure_daemon.control_loop.sampling import Sampler
from reconfigure_daemon.control_loop.snapshots import space_and_enforced, target_of
from reconfigure_daemon.control_loop.standing_orders import StandingOrders
from reconfigure_daemon.ports import EngineHost, HostState, TelemetryBatch
from reconfigure_daemon.settings import DEVICE_KNOBS
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision.governor import (
    CLOCK,
    EngineSample,
    Governed,
    GovernorLimits,
    GovernorState,
    GovernorView,
    govern,
    governed_knobs,
    view,
)
from reconfigure_policies.domain.configuration import ConfigurationSpace, KnobValue, Tier, format_value
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, OutcomeKind
from reconfigure_policies.step_cost import StepCostModel

#: After a change that the engine did not take, nothing is tried for this long.
_AFTER_FAILURE_S = 60.0

#: News without a change are stored at most this often, so that a load at the edge does not fill the history.
_NEWS_S = 60.0


@dataclass(frozen=True, slots=True)
class GovernorReport:
    """The governor at a glance.

    Attributes:
        enabled: whether the settings want it.
        standing_by: why it does not act; None while it does.
        energy_per_output_token_j: what a token costs now, prefill and idle time included; None before it is known.
        energy_stretches: how many measured stretches of a few seconds its prediction of joules rests on.
        seen: what it predicts and how near the limits are; None while it stands by.
    """

    enabled: bool
    standing_by: str | None
    energy_per_output_token_j: float | None = None
    energy_stretches: float = 0.0
    seen: GovernorView | None = None


class Governing:
    """Shows the governor the engine about once a second; models of step costs are kept per cold configuration.

    Attributes:
        standing_by: why it does not act; None while it does.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        orders: StandingOrders,
        sampler: Sampler,
        decisions: Decisions,
        clock: Clock,
    ) -> None:
        self.standing_by: str | None = "the engine was not read yet"
        self._settings = settings
        self._orders = orders
        self._sampler = sampler
        self._decisions = decisions
        self._clock = clock
        self._state = GovernorState()
        self._models: dict[object, Mapping[int, StepCostModel]] = {}
        self._core: tuple[object, object] | None = None
        self._sight = GovernorSight()
        self._metered = False
        self._failed: tuple[float, str] | None = None
        self._news = ""
        self._told: tuple[float, bool] = (float("-inf"), False)

    def interrupted(self, why: str) -> None:
        """The engine is busy or silent: the next sample starts afresh, and so does what is known of the load."""
        self.standing_by = why
        self._sight.look_away()

    def looks_away(self) -> None:
        """Its own change is on its way: the next sample starts afresh, and nothing else."""
        self._sight.look_away()

    def turn(self, state: HostState) -> Decision | None:
        """What to do about what was just read of an engine that serves and is not being changed; None for nothing."""
        batch = self._sampler.batch
        if batch is None:
            return None
        why = self._withheld(state, batch)
        if why is not None:
            return self._stand_by(state, why)
        if self.standing_by is not None or self._core != self._core_of(state):
            self._begin(state, batch)
        limits = self._limits(state)
        stray = self._orders.state.governed - limits.governed
        if (decision := self._given_back(state, stray, "they are no longer the governor's")) is not None:
            return decision
        energy = self._sampler.energy
        energy_j = energy.energy_j if energy is not None and counts(state, energy) else None
        sample = self._sight.sample(batch, energy_j)
        return None if sample is None else self._govern(state, sample, limits)

    async def carry_out(self, decision: Decision, host: EngineHost, state: HostState) -> None:
        """Store the decision, act, and store the outcome.

        Raises:
            ActionInProgress: if another action came first.
        """
        _, enforced = space_and_enforced(self._settings(), state)
        if decision.kind is DecisionKind.KEEP:
            await self._decisions.record(decision, enforced)
            return
        await self._orders.govern(decision.hot)
        record = await self._decisions.change(decision, enforced, host, "by the governor")
        assert record.outcome is not None
        if record.outcome.kind in (OutcomeKind.FAILED, OutcomeKind.ROLLED_BACK):
            self._failed = self._clock.monotonic() + _AFTER_FAILURE_S, record.outcome.detail
        elif record.outcome.kind is OutcomeKind.APPLIED:
            asked = target_of(self._settings(), self._orders.state)
            await self._orders.gave_back({n for n, value in decision.hot.items() if n in asked and asked[n] == value})

    def report(self) -> GovernorReport:
        """What to show now."""
        enabled, state = self._settings().governor.enabled, self._sampler.state
        if self.standing_by is not None or state is None:
            return GovernorReport(enabled, self.standing_by or "the engine host does not answer")
        seen, energy = view(self._state, state.target, self._limits(state)), self._state.model.energy
        if not energy.is_learned:
            seen = replace(seen, expected=None, stock=None, saved=None)
        return GovernorReport(enabled, None, self._sight.energy.per_output_token_j, energy.fit.count, seen)

    def _withheld(self, state: HostState, batch: TelemetryBatch) -> str | None:
        settings, by_failure = self._settings(), self._withheld_by_failure()
        self._metered = self._metered or counts(state, self._sampler.energy)
        return (
            withheld_by_orders(settings.governor, self._orders.state)
            or withheld_by_engine(state, batch)
            or withheld_by_meter(state, self._sampler.energy, self._metered)
            or by_failure
        )

    def _withheld_by_failure(self) -> str | None:
        if self._failed is None or self._clock.monotonic() >= self._failed[0]:
            self._failed = None
            return None
        return f"its last change was not taken ({self._failed[1]}); it waits for {_AFTER_FAILURE_S:.0f} s"

    def _stand_by(self, state: HostState, why: str) -> Decision | None:
        """Give back what was moved; where the engine has just refused a change, in a while."""
        self.interrupted(why)
        return None if self._failed is not None else self._given_back(state, self._orders.state.governed, why)

    def _given_back(self, state: HostState, names: frozenset[str], why: str) -> Decision | None:
        """Knobs as they were asked for; None where they are, cannot be moved, or are in the space no more."""
        movable = sorted(names - set(state.off_knobs))
        if not movable:
            return None
        asked = target_of(self._settings(), self._orders.state)
        changes = {name: asked[name] for name in movable if name in asked and state.target.get(name) != asked[name]}
        if not changes:
            return None
        moves = ", ".join(f"{n} from {_value(state.target.get(n))} to {format_value(v)}" for n, v in changes.items())
        return self._adjustment(state, changes, f"Adjust {moves}: what was asked for holds again, since {why}.")

    def _begin(self, state: HostState, batch: TelemetryBatch) -> None:
        """Start with what is known of cores of this kind; what arrived earlier says nothing of what is set from now."""
        if self._core is not None:
            self._models[self._core[1]] = self._state.known
        self._core = self._core_of(state)
        self._state = GovernorState.knowing(self._models.get(self._core[1], {}), changed_at_s=batch.now_s)
        self._sight, self.standing_by = GovernorSight(), None

    def _core_of(self, state: HostState) -> tuple[object, object]:
        """Which core serves, and of which kind it is; on slower cards it is another one, but for governed clocks."""
        settings = self._settings()
        space, enforced = space_and_enforced(settings, state)
        kind = {knob.name for knob in space.knobs if knob.tier is Tier.COLD or knob.name in DEVICE_KNOBS}
        if settings.governor.clocks:
            kind.discard(CLOCK)
        cold = tuple((name, enforced[name]) for name in sorted(kind))
        deployment_id = None if state.deployment is None else state.deployment.id
        return (state.host_id, deployment_id), (state.engine, state.engine_version, state.model, cold)

    def _govern(self, state: HostState, sample: EngineSample, limits: GovernorLimits) -> Decision | None:
        step = govern(self._state, sample, state.target, limits)
        self._state = step.state
        if step.changes:
            self._told, self._news = (self._told[0], False), ""
            return self._adjustment(state, step.changes, step.reason)
        return self._news_of(state, step)

    def _news_of(self, state: HostState, step: Governed) -> Decision | None:
        """That the service level cannot be held, or can again: told late rather than often."""
        self._news = step.reason or self._news
        unmet, (told_s, told_unmet) = step.state.unmet is not None, self._told
        now_s = self._clock.monotonic()
        if not self._news or unmet == told_unmet or now_s < told_s + _NEWS_S:
            return None
        self._told, reason, self._news = (now_s, unmet), self._news, ""
        _, enforced = space_and_enforced(self._settings(), state)
        return Decision(DecisionKind.KEEP, reason, enforced, author=Author.GOVERNOR)

    def _adjustment(self, state: HostState, changes: Mapping[str, KnobValue], reason: str) -> Decision:
        space, _ = space_and_enforced(self._settings(), state)
        asked = {name: value for name, value in state.target.items() if name in space}
        target = space.default().with_changes({**asked, **changes})
        return Decision(DecisionKind.ADJUST, reason, target, dict(changes), author=Author.GOVERNOR)

    def _limits(self, state: HostState) -> GovernorLimits:
        """The space as far as this host can change it while it runs, around what was asked for."""
        settings = self._settings()
        clocks, hot = settings.governor.clocks and CLOCK not in state.off_knobs, state.capabilities.hot_knobs
        bounds = governed_knobs(with_clocks=False)
        knobs = settings.configuration_space().knobs
        space = ConfigurationSpace(tuple(k for k in knobs if k.name not in bounds or k.name in hot))
        asked = target_of(settings, self._orders.state)
        return GovernorLimits.of(space, asked, settings.slo.to_domain(), settings.governor.margin, with_clocks=clocks)


def _value(value: KnobValue | None) -> str:
    return "unset" if value is None else format_value(value)
