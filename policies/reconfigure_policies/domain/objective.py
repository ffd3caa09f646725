"""What the operator wants: an objective, a service level to hold, and intents that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from reconfigure_policies.domain.configuration import Configuration, KnobValue
from reconfigure_policies.domain.workload import FinishReason, RequestRecord


class Objective(StrEnum):
    """What to prefer among configurations that hold the SLO."""

    ENERGY = "energy"
    THROUGHPUT = "throughput"
    BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class CoveredObjective:
    """What a temporary objective (`--for 8h`) covers, and gives way to when it ends.

    Attributes:
        objective: the one that was in force.
        until: when it ends itself, wall-clock seconds; None if it stays.
        configuration: what was enforced under it.
    """

    objective: Objective
    until: float | None
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class AppliedConfiguration:
    """A configuration that was reached, and the objective that held under it: both are what a rollback returns to.

    Attributes:
        configuration: what was enforced.
        objective: the one in force, at the latest, while it was.
        until: when that objective ends, wall-clock seconds; None if it stays.
        covered: what comes back when it ends, the next one last.
    """

    configuration: Configuration
    objective: Objective
    until: float | None = None
    covered: tuple[CoveredObjective, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceLevelObjective:
    """Latencies that a request must not exceed to count as good; None where there is no limit. Seconds."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_latency_s: float | None = None
    attainment: float = 0.99

    def met_by(self, record: RequestRecord) -> bool:
        """Whether a finished request stayed within every limit; one that failed or was aborted did not."""
        if record.finish_reason not in ("stop", "length"):
            return False
        measured = (
            (record.ttft_s, self.ttft_s),
            (record.tpot_s, self.tpot_s),
            (record.e2e_latency_s, self.e2e_latency_s),
        )
        return all(limit is None or value is None or value <= limit for value, limit in measured)

    def left_open_by(self, record: RequestRecord) -> bool:
        """Whether a request was aborted while it held every limit, so that nobody knows whether it would have met them.

        It is judged as if its next token had come at that moment, which is the best that it could still get: one whose
        client has waited for longer than a limit is a miss.
        """
        if record.finish_reason != FinishReason.ABORT:
            return False
        ttft_s = record.e2e_latency_s if record.ttft_s is None else record.ttft_s
        at_best = replace(
            record, ttft_s=ttft_s, output_tokens=record.output_tokens + 1, finish_reason=FinishReason.STOP
        )
        return self.met_by(at_best)


class IntentKind(StrEnum):
    """What an operator can ask for."""

    OBJECTIVE = "objective"
    APPLY = "apply"
    ROLLBACK = "rollback"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class OperatorIntent:
    """A wish with its origin; wall-clock times in seconds since the epoch.

    Attributes:
        id: unique and sortable by time.
        kind: what is asked.
        objective: for `objective`.
        changes: for `apply`, the knobs to change.
        source: `cli`, `api`, `page` or `start`; `schedule` for the end of a temporary objective, and `schedule NAME`
            for what the calendar asks.
        received_at: when it came.
        expires_at: when it ends (`--for 8h`), or None.
    """

    id: str
    kind: IntentKind
    received_at: float
    source: str
    objective: Objective | None = None
    changes: Mapping[str, KnobValue] = field(default_factory=dict)
    expires_at: float | None = None
