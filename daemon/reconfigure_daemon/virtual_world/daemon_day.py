"""The slow loop over a row of windows: real policies, a virtual engine, everything that happened written down."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.virtual_world.forecasting import ForecastError, ImperfectForecaster
from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_daemon.virtual_world.window_model import Served, WindowModel
from reconfigure_policies.decision import DecisionTerms
from reconfigure_policies.decision.own_changes import after_decision, after_window
from reconfigure_policies.decision.slow_loop import answer, canary_context, end_canary, look_ahead_s
from reconfigure_policies.decision.watch import Watch, after_count, answered, asked_for, with_occasion
from reconfigure_policies.decision.watch import after_window as watched
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind, Snapshot
from reconfigure_policies.domain.history import Canary, DecisionRecord, OwnChanges, SwitchMeasurement
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective
from reconfigure_policies.domain.parallelism import replicas_of
from reconfigure_policies.domain.shift import WorkloadShift
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow

#: How often arrivals are counted in a window.
_COUNTS = 6

#: How far a window's joules swing around the model's, relatively.
_NOISE = 0.01


@dataclass(frozen=True, slots=True)
class Orders:
    """What a virtual daemon is told.

    Attributes:
        space: what may be chosen.
        slo: what must hold.
        objective: what to prefer.
        terms: the guardrails' numbers.
        start: what serves at first.
    """

    space: ConfigurationSpace
    slo: ServiceLevelObjective
    objective: Objective
    terms: DecisionTerms
    start: Configuration


@dataclass(slots=True)
class Day:
    """What happened.

    Attributes:
        energy_j: of all windows and switches.
        requests, slo_met: those that arrived, and those of them inside the SLO.
        output_tokens: of those that arrived.
        decisions: with their time in seconds since the start.
        shifts: as they were named.
        configurations: what served, window by window.
    """

    energy_j: float = 0.0
    requests: float = 0.0
    slo_met: float = 0.0
    output_tokens: float = 0.0
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    shifts: list[WorkloadShift] = field(default_factory=list)
    configurations: list[Configuration] = field(default_factory=list)

    @property
    def attainment(self) -> float:
        """Share of requests inside the SLO; 1 without requests."""
        return self.slo_met / self.requests if self.requests else 1.0

    @property
    def cold_switches(self) -> int:
        """Changes that needed a new core."""
        return sum(bool(decision.cold) for _, decision in self.decisions)

    def count(self, served: Served, traffic: WindowTraffic) -> None:
        """Add a window."""
        self.energy_j += served.energy_j
        self.requests += traffic.arrivals
        self.slo_met += served.slo_met
        self.output_tokens += traffic.output_tokens


def live(
    windows: Sequence[WindowTraffic],
    orders: Orders,
    model: WindowModel,
    seed: int = 0,
    error: ForecastError | None = None,
    emulation: Emulation | None = None,
    *,
    looks_ahead: bool = True,
) -> Day:
    """Let a daemon live through windows; the same seed gives the same day.

    Args:
        windows: what arrives, in order.
        orders: what it is told.
        model: the engine.
        seed: of forecast errors and of what is measured.
        error: how far off forecasts are.
        emulation: how long a boot takes.
        looks_ahead: whether arrivals are counted between windows, too, so that a load that climbs is seen early.
    """
    candidates = tuple(orders.space.enumerate())
    forecaster = ImperfectForecaster(model, candidates, error or ForecastError(), seed)
    daemon = _VirtualDaemon(orders, model, forecaster, emulation or Emulation(), seed, looks_ahead)
    for traffic in windows:
        daemon.window(traffic)
    return daemon.day


class _VirtualDaemon:
    """What the control loop does once per window; see `control_loop.redeciding`, whose policies it shares."""

    def __init__(
        self,
        orders: Orders,
        model: WindowModel,
        forecaster: ImperfectForecaster,
        emulation: Emulation,
        seed: int,
        looks_ahead: bool,
    ) -> None:
        self.day = Day()
        self._orders = orders
        self._model = model
        self._forecaster = forecaster
        self._emulation = emulation
        self._looks_ahead = looks_ahead
        self._draw = random.Random(seed)  # noqa: S311 - to be drawn again, no secret
        self._now_s = 0.0
        self._enforced = orders.start
        self._backlog = 0.0
        self._arrived = 0.0
        self._watch = Watch()
        self._own = OwnChanges()
        self._past: list[SwitchMeasurement] = []
        self._settling = False
        self._again_at: float | None = None

    def window(self, traffic: WindowTraffic) -> None:
        """Serve a window, look at it, decide."""
        served = self._model.serve(traffic, self._enforced, self._backlog)
        self._backlog = served.backlog
        self.day.count(served, traffic)
        self.day.configurations.append(self._enforced)
        self._forecaster.saw(traffic)
        if self._looks_ahead:
            self._count(traffic)
        self._now_s += traffic.duration_s
        if self._settling:  # the first window after a change mixes two configurations, and is no observation
            self._settling = False
            return
        self._look(self._measured(traffic, served))
        decision = self._decide()
        if decision is not None:
            self._carry_out(decision, traffic, served)

    def _count(self, traffic: WindowTraffic) -> None:
        """The counter of arrivals as it is looked at within the window, in which it grows evenly."""
        ahead_s = look_ahead_s(self._past, self._orders.terms)
        for look in range(1, _COUNTS + 1):
            share = look / _COUNTS
            at_s, arrived = self._now_s + share * traffic.duration_s, self._arrived + share * traffic.arrivals
            self._watch = after_count(self._watch, at_s, round(arrived), ahead_s)
        self._arrived += traffic.arrivals

    def _measured(self, traffic: WindowTraffic, served: Served) -> WorkloadWindow:
        """The window as monitoring would report it."""
        steady = served.steady
        ttft = Percentiles() if steady is None else Percentiles(steady.ttft_s, None, steady.ttft_tail_s)
        tpot = Percentiles() if steady is None else Percentiles(steady.tpot_s, None, steady.tpot_tail_s)
        share = served.finished / traffic.arrivals if traffic.arrivals else 0.0
        return WorkloadWindow(
            started_s=self._now_s - traffic.duration_s,
            duration_s=traffic.duration_s,
            arrivals=round(traffic.arrivals),
            finished=round(served.finished),
            slo_met=min(round(served.slo_met), round(served.finished)),
            prompt_tokens=round(traffic.prompt_tokens),
            cached_prompt_tokens=0,
            output_tokens=round(traffic.output_tokens * share),
            preemptions=0,
            mean_running=self._running(served),
            mean_waiting=served.backlog,
            ttft_s=ttft,
            tpot_s=tpot,
            energy_j=served.energy_j * max(0.0, self._draw.gauss(1.0, _NOISE)),
            energy_source="estimated",
        )

    def _running(self, served: Served) -> float:
        """Requests that decode together, of all replicas that serve."""
        return 0.0 if served.steady is None else served.steady.batch * replicas_of(self._enforced)

    def _look(self, window: WorkloadWindow) -> None:
        before = self._watch.shift
        self._watch = watched(self._watch, window, self._own)
        self._own = after_window(self._own, window)
        if self._watch.shift is not None and self._watch.shift is not before:
            self.day.shifts.append(self._watch.shift)
        if self._again_at is not None and self._now_s >= self._again_at:
            self._again_at = None
            self._watch = with_occasion(self._watch, "a redeploy is allowed again")

    def _decide(self) -> Decision | None:
        if self._own.canary is not None and not self._watch.is_urgent:
            return self._decide_on_canary(self._own.canary)
        occasion = self._watch.occasion
        if occasion is None:  # asked first: forecasts of every candidate are what a simulation spends its time on
            return None
        snapshot = self._snapshot()
        if not snapshot.forecasts:
            return None
        self._watch = answered(self._watch)
        found = answer(occasion, snapshot, self._orders.space, self._orders.terms, self._own, self._past)
        self._again_at = found.again_at
        return found.decision

    def _decide_on_canary(self, canary: Canary) -> Decision | None:
        windows, slo, terms = self._watch.canary_windows, self._orders.slo, self._orders.terms
        context = canary_context(canary, windows, slo, terms)
        if context is None:
            return None
        known = {each.configuration: each for each in self._forecaster.forecasts(context, with_throughput=False)}
        forecasts = known.get(canary.configuration), known.get(canary.before)
        snapshot = self._without_forecasts()
        end = end_canary(canary, windows, forecasts, snapshot, self._orders.space, terms, self._own)
        self._own = end.own
        self._watch = with_occasion(self._watch, "its canary ended")
        return end.decision

    def _snapshot(self) -> Snapshot:
        snapshot, usual, busiest = self._without_forecasts(), self._watch.usual, self._watch.busiest
        if usual is None or busiest is None:
            return snapshot
        self._watch = asked_for(self._watch, busiest)
        capacities = self._orders.objective is not Objective.ENERGY or self._watch.climb is not None
        return replace(
            snapshot,
            forecasts=self._forecaster.forecasts(usual, with_throughput=capacities),
            strained=self._forecaster.forecasts(busiest, with_throughput=False),
            climbs=self._watch.climb is not None,
        )

    def _without_forecasts(self) -> Snapshot:
        return Snapshot(self._now_s, self._enforced, self._orders.objective, self._orders.slo)

    def _carry_out(self, decision: Decision, traffic: WindowTraffic, served: Served) -> None:
        before, number = self._enforced, len(self.day.decisions) + 1
        self.day.decisions.append((self._now_s, decision))
        if decision.kind is DecisionKind.KEEP:
            return
        if decision.cold:
            self._switch(decision.target, traffic, served)
        self._enforced, self._settling = decision.target, True
        outcome = Outcome(OutcomeKind.APPLIED, "", decision.target, 0.0)
        record = DecisionRecord(number, self._now_s, decision, before, outcome, self._now_s)
        self._own = after_decision(self._own, record)

    def _switch(self, target: Configuration, traffic: WindowTraffic, served: Served) -> None:
        """A second core boots beside the first, as `emulated_engine.switching` does it."""
        boot_s = self._emulation.boot_s
        extra_j = self._model.boot_energy_j(target, boot_s)
        running = self._running(served)
        stall_s = self._emulation.stall_s(round(running))
        self.day.energy_j += extra_j
        serving_w = served.energy_j / traffic.duration_s
        measured = {"energy_j": extra_j + serving_w * boot_s, "stall_p95_s": stall_s, "live_requests": running}
        self._past = [SwitchMeasurement(self._now_s, "overlapped", boot_s, measured), *self._past][:50]
