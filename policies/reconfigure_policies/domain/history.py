"""What is remembered: decisions with their outcomes, what a restart must not forget, and what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, Outcome
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.domain.objective import AppliedConfiguration, CoveredObjective, Objective
from reconfigure_policies.domain.schedule import ScheduledSpan
from reconfigure_policies.domain.workload import WorkloadWindow


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision as it was stored before it acted, and its outcome once there is one; wall-clock seconds.

    Attributes:
        id: counts up; the order of decisions.
        at: when it was decided.
        decision: what was decided, and why.
        enforced_before: the configuration it started from, or None if it could not be read.
        outcome: what became of it; None while it runs, and for one that the controller did not live to see end.
        outcome_at: when the outcome was known.
        mode: how a cold part was carried out, e.g. `overlapped`; None if everything was hot.
    """

    id: int
    at: float
    decision: Decision
    enforced_before: Configuration | None = None
    outcome: Outcome | None = None
    outcome_at: float | None = None
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class SwitchMeasurement:
    """What one successful cold switch took; the plan's estimates are medians of these.

    Attributes:
        at: when it ended, wall-clock seconds.
        mode: `overlapped`, `sequential` or `drain`.
        duration_s: from the start of the action to its end.
        measurements: `Outcome.measurements` of the switch.
    """

    at: float
    mode: str
    duration_s: float
    measurements: Mapping[str, float] = field(default_factory=dict)

    @property
    def stall_p95_s(self) -> float | None:
        """The pause that 95 of 100 live streams stayed below; None if no stream was live."""
        return self.measurements.get("stall_p95_s")

    @property
    def moved_streams(self) -> bool:
        """Whether the engine served anything that had to go on."""
        return self.measurements.get("live_requests", 0.0) > 0

    @property
    def energy_j(self) -> float | None:
        """Joules of all devices from its start to its end; None if they were not metered."""
        return self.measurements.get("energy_j")


@dataclass(frozen=True, slots=True)
class Observation:
    """One settled window of a configuration under a workload: all that surrogates learn from.

    Attributes:
        at: the window's end, wall-clock seconds.
        host_id: the engine host that served it.
        engine: `vllm` or `emulated`; the two are never mixed.
        engine_version, model: what answered; another model's observations say nothing of this one.
        configuration: enforced throughout the window.
        window: the workload and what it got.
    """

    at: float
    host_id: str
    engine: str
    engine_version: str
    model: str
    configuration: Configuration
    window: WorkloadWindow


@dataclass(frozen=True, slots=True)
class Canary:
    """A redeploy that is watched before it is trusted.

    Attributes:
        decision_id: what redeployed.
        since: when it was applied, wall-clock seconds.
        configuration: what is watched.
        before: where to go back to.
        expected: what was forecast of it, by the names of `Forecast`.
        exploring: whether it was only to learn; it then ends by deciding again.
    """

    decision_id: int
    since: float
    configuration: Configuration
    before: Configuration
    expected: Mapping[str, Estimate] = field(default_factory=dict)
    exploring: bool = False


@dataclass(frozen=True, slots=True)
class OwnChanges:
    """What the daemon must remember of the changes that it made on forecasts.

    Attributes:
        canary: the redeploy that is watched now.
        redeploys_at: when the latest ones were applied, wall-clock seconds, latest last.
        distrusted: configurations that fell short, with the wall-clock time until which none of them is chosen again.
        explored_j: joules that exploring has spent.
        used_j: joules of all windows seen, that the budget of exploring is a share of.
    """

    canary: Canary | None = None
    redeploys_at: tuple[float, ...] = ()
    distrusted: tuple[tuple[Configuration, float], ...] = ()
    explored_j: float = 0.0
    used_j: float = 0.0

    def trusts(self, configuration: Configuration, now: float) -> bool:
        """Whether a configuration may be chosen: it did not fall short lately."""
        return all(each != configuration or until <= now for each, until in self.distrusted)


@dataclass(frozen=True, slots=True)
class WindowRecord:
    """One workload window as it was stored.

    Attributes:
        id: counts up; the order of windows.
        at: its end, wall-clock seconds.
        configuration: enforced when it ended.
        window: what was asked and what was got.
    """

    id: int
    at: float
    configuration: Configuration
    window: WorkloadWindow


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What a controller must know again after it was killed.

    Attributes:
        objective: the one in force.
        objective_until: when it ends, wall-clock seconds; None if it stays.
        paused: whether the operator has stopped automatic changes.
        target: the configuration that was asked for; None before the first decision.
        previous: what was applied before, latest last, for rollback.
        covered: what comes back when a temporary objective ends, the next one last.
        governed: knobs whose value the governor may have moved away from `target`.
        hands_off: why the governor leaves its knobs alone although its objective is in force; None if it need not.
        pinned: why nothing is chosen on forecasts: the operator's own configuration stands; None if it may be.
        own: what the daemon changed by itself.
        scheduled: the span of the calendar that was followed last; None before any.
    """

    objective: Objective
    objective_until: float | None = None
    paused: bool = False
    target: Configuration | None = None
    previous: tuple[AppliedConfiguration, ...] = ()
    covered: tuple[CoveredObjective, ...] = ()
    governed: frozenset[str] = frozenset()
    hands_off: str | None = None
    pinned: str | None = None
    own: OwnChanges = OwnChanges()
    scheduled: ScheduledSpan | None = None
