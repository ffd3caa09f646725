"""What the governor sees: one replica of the engine, the average one, between two readings about a second apart."""

from __future__ import annotations

from dataclasses import dataclass

from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.domain.workload import IterationTotals, RequestRecord


@dataclass(frozen=True, slots=True)
class EngineReading:
    """Counters and gauges at one instant, summed over the replicas.

    Attributes:
        totals: of the engine host.
        steps: of the serving core; None from a host that does not sum them.
        energy_j: joules of all devices since the meter started; None where there is no meter.
        replicas: of the model in the serving core.
    """

    totals: IterationTotals
    steps: StepTotals | None = None
    energy_j: float | None = None
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class EngineSample:
    """What happened between two readings of one engine host, to each of its replicas on average.

    Knobs bound and pace each replica by itself, so that one of them is what a setting is judged by.

    Attributes:
        ended_s: on the host's monotonic clock.
        duration_s: more than 0.
        arrivals, finished, preemptions: requests.
        prompt_tokens, cached_prompt_tokens: of the arrivals.
        output_tokens: generated.
        running, waiting: requests at its end.
        steps, energy_j: differences; None if one of the two readings lacks them or another core counts now.
        records: requests that finished in it, of all replicas.
        replicas: what everything else has to be multiplied by for the whole engine.
    """

    ended_s: float
    duration_s: float
    arrivals: float = 0
    finished: float = 0
    preemptions: float = 0
    prompt_tokens: float = 0
    cached_prompt_tokens: float = 0
    output_tokens: float = 0
    running: float = 0
    waiting: float = 0
    steps: StepTotals | None = None
    energy_j: float | None = None
    records: tuple[RequestRecord, ...] = ()
    replicas: int = 1


def sample_between(
    earlier: EngineReading, later: EngineReading, records: tuple[RequestRecord, ...] = ()
) -> EngineSample | None:
    """The sample between two readings; None if no time has passed or counters went back, as with another host."""
    before, after, replicas = earlier.totals, later.totals, later.replicas
    if after.at_s <= before.at_s or after.arrived < before.arrived or after.output_tokens < before.output_tokens:
        return None
    return EngineSample(
        ended_s=after.at_s,
        duration_s=after.at_s - before.at_s,
        arrivals=(after.arrived - before.arrived) / replicas,
        finished=(after.finished - before.finished) / replicas,
        preemptions=max(0, after.preemptions - before.preemptions) / replicas,
        prompt_tokens=(after.prompt_tokens - before.prompt_tokens) / replicas,
        cached_prompt_tokens=(after.cached_prompt_tokens - before.cached_prompt_tokens) / replicas,
        output_tokens=(after.output_tokens - before.output_tokens) / replicas,
        running=after.running / replicas,
        waiting=after.waiting / replicas,
        steps=_steps_of_each(earlier, later),
        energy_j=_energy_of_each(earlier, later),
        records=records,
        replicas=replicas,
    )


def _steps_of_each(earlier: EngineReading, later: EngineReading) -> StepTotals | None:
    if earlier.steps is None or later.steps is None or earlier.replicas != later.replicas:
        return None
    steps = later.steps.since(earlier.steps)
    return None if steps is None else steps.of_each(later.replicas)


def _energy_of_each(earlier: EngineReading, later: EngineReading) -> float | None:
    if earlier.energy_j is None or later.energy_j is None or later.energy_j < earlier.energy_j:
        return None
    return (later.energy_j - earlier.energy_j) / later.replicas
