"""What the governor sees: the engine between two readings, about a second apart."""

from __future__ import annotations

from dataclasses import dataclass

from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.domain.workload import IterationTotals, RequestRecord


@dataclass(frozen=True, slots=True)
class EngineReading:
    """Counters and gauges at one instant.

    Attributes:
        totals: of the engine host.
        steps: of the serving core; None from a host that does not sum them.
        energy_j: joules of all devices since the meter started; None where there is no meter.
    """

    totals: IterationTotals
    steps: StepTotals | None = None
    energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class EngineSample:
    """What happened between two readings of one engine host.

    Attributes:
        ended_s: on the host's monotonic clock.
        duration_s: more than 0.
        arrivals, finished, preemptions: requests.
        prompt_tokens, cached_prompt_tokens: of the arrivals.
        output_tokens: generated.
        running, waiting: requests at its end.
        steps, energy_j: differences; None if one of the two readings lacks them or another core counts now.
        records: requests that finished in it.
    """

    ended_s: float
    duration_s: float
    arrivals: int = 0
    finished: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    output_tokens: int = 0
    running: int = 0
    waiting: int = 0
    steps: StepTotals | None = None
    energy_j: float | None = None
    records: tuple[RequestRecord, ...] = ()


def sample_between(
    earlier: EngineReading, later: EngineReading, records: tuple[RequestRecord, ...] = ()
) -> EngineSample | None:
    """The sample between two readings; None if no time has passed or counters went back, as with another host."""
    before, after = earlier.totals, later.totals
    if after.at_s <= before.at_s or after.arrived < before.arrived or after.output_tokens < before.output_tokens:
        return None
    return EngineSample(
        ended_s=after.at_s,
        duration_s=after.at_s - before.at_s,
        arrivals=after.arrived - before.arrived,
        finished=after.finished - before.finished,
        preemptions=max(0, after.preemptions - before.preemptions),
        prompt_tokens=after.prompt_tokens - before.prompt_tokens,
        cached_prompt_tokens=after.cached_prompt_tokens - before.cached_prompt_tokens,
        output_tokens=after.output_tokens - before.output_tokens,
        running=after.running,
        waiting=after.waiting,
        steps=None if earlier.steps is None or later.steps is None else later.steps.since(earlier.steps),
        energy_j=_difference(earlier.energy_j, later.energy_j),
        records=records,
    )


def _difference(earlier: float | None, later: float | None) -> float | None:
    if earlier is None or later is None or later < earlier:
        return None
    return later - earlier
