"""Decisions, each with its reason, and the outcomes that check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconfigure_policies.domain.configuration import Configuration, KnobValue
from reconfigure_policies.domain.forecast import Estimate, Forecast
from reconfigure_policies.domain.objective import (
    AppliedConfiguration,
    Objective,
    OperatorIntent,
    ServiceLevelObjective,
)
from reconfigure_policies.domain.workload import WorkloadWindow


class DecisionKind(StrEnum):
    """`keep` does nothing; `adjust` moves hot knobs; `redeploy` needs a new core; `explore` tries a configuration."""

    KEEP = "keep"
    ADJUST = "adjust"
    REDEPLOY = "redeploy"
    EXPLORE = "explore"


class Author(StrEnum):
    """Who decided.

    `operator` by an intent, the calendar's included; `governor` within a core's hot knobs; `planner` on forecasts;
    `daemon` where it notes what it found, or brings an engine back.
    """

    OPERATOR = "operator"
    GOVERNOR = "governor"
    PLANNER = "planner"
    DAEMON = "daemon"


class OutcomeKind(StrEnum):
    """What became of a decision. `unknown` is reconciled by reading the enforced state back, never retried blindly."""

    APPLIED = "applied"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a policy may look at.

    Attributes:
        at: wall-clock seconds since the epoch.
        enforced: the configuration read back from the engine.
        objective: the one in force.
        slo: the service level to hold.
        paused: whether the operator has stopped automatic changes.
        windows: recent workload windows, oldest first.
        previous: what was applied before, latest last, for rollback.
        named: the configuration of each objective in `config.yaml`.
        draining: hot values that the engine has taken as its target and does not enforce yet, e.g. a lowered cap
            while more requests run.
        asked: the configuration that was asked for, where the governor has moved on from it; else None.
        objective_until: when the objective ends, wall-clock seconds; None if it stays.
        forecasts: of every candidate under the workload as it is now; empty where nothing was learned.
        strained: the same candidates at the busiest that the workload now and then is; the SLO must hold there, too.
        climbs: whether that is what a load that climbs will come to.
        basis: what the forecasts rest on, or why there are none; "" where nothing could be asked.
        governed: hot knobs that the governor keeps moving by itself.
    """

    at: float
    enforced: Configuration
    objective: Objective
    slo: ServiceLevelObjective
    paused: bool = False
    windows: tuple[WorkloadWindow, ...] = ()
    previous: tuple[AppliedConfiguration, ...] = ()
    named: Mapping[Objective, Configuration] = field(default_factory=dict)
    draining: Mapping[str, KnobValue] = field(default_factory=dict)
    asked: Configuration | None = None
    objective_until: float | None = None
    forecasts: tuple[Forecast, ...] = ()
    strained: tuple[Forecast, ...] = ()
    climbs: bool = False
    basis: str = ""
    governed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and how the change divides into hot and cold.

    Attributes:
        kind: see `DecisionKind`.
        reason: one sentence with its numbers, for operators; equal to the INFO line that is logged.
        target: the configuration to reach; the enforced one for `keep`.
        hot, cold: the changes by tier.
        intent: the intent that asked for it, or None when the daemon acts alone.
        author: who decided.
        expected: what was forecast of the target, by the names of `Forecast`; empty for what rests on no forecast.
    """

    kind: DecisionKind
    reason: str
    target: Configuration
    hot: Mapping[str, KnobValue] = field(default_factory=dict)
    cold: Mapping[str, KnobValue] = field(default_factory=dict)
    intent: OperatorIntent | None = None
    author: Author = Author.DAEMON
    expected: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def is_hot(self) -> bool:
        """Whether it stays inside the running core: an `adjust`, or to explore without a cold change."""
        return self.kind is DecisionKind.ADJUST or (self.kind is DecisionKind.EXPLORE and not self.cold)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened when a decision was carried out.

    Attributes:
        kind: see `OutcomeKind`.
        detail: one sentence; for a failure it holds the engine's own last error.
        enforced: the configuration read back afterwards, or None if it could not be read.
        duration_s: from the start of the action to its end.
        measurements: numbers of the action, e.g. `stall_p95_s`, `live_requests`, `boot_s`.
    """

    kind: OutcomeKind
    detail: str
    enforced: Configuration | None
    duration_s: float
    measurements: Mapping[str, float] = field(default_factory=dict)
