"""The governor in charge of the emulated engine, second by second."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconfigure_policies.decision.governor import GovernorLimits, GovernorState, govern
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.objective import ServiceLevelObjective
from tests.simulation.plant import Plant

INTERVALS_S = (0.0, 0.01, 0.02, 0.03, 0.045, 0.06, 0.09, 0.18)
SPACE = ConfigurationSpace(
    (
        Knob("pacing_interval_s", Tier.HOT, INTERVALS_S, 0.0),
        Knob("max_num_seqs", Tier.HOT, (64, 128, 256), 256),
        Knob("max_num_batched_tokens", Tier.HOT, (512, 2048, 8192), 8192),
        Knob("block_size", Tier.COLD, (16, 32), 16),
    )
)
SLO = ServiceLevelObjective(ttft_s=1.0, tpot_s=0.05)


@dataclass
class Run:
    """What happened: per change its second and reason, per second the configuration asked for."""

    plant: Plant
    configuration: Configuration
    state: GovernorState = field(default_factory=GovernorState)
    changes: list[tuple[int, str]] = field(default_factory=list)
    news: list[tuple[int, str]] = field(default_factory=list)
    intervals_s: list[float] = field(default_factory=list)
    warm: tuple[float, int, int] = (0.0, 0, 0)

    @property
    def energy_per_output_token_j(self):
        energy_j, tokens, _ = self.warm
        return (self.plant.scheduler.energy_j - energy_j) / (self.plant.scheduler.totals().output_tokens - tokens)

    @property
    def records(self):
        return self.plant.records[self.warm[2] :]

    def mark(self):
        """From here on it is measured."""
        scheduler = self.plant.scheduler
        self.warm = scheduler.energy_j, scheduler.totals().output_tokens, len(self.plant.records)


def governed(arrivals, duration_s, slo=SLO, warm_s=0, space=SPACE, with_clocks=False, **engine):
    """A run under the governor; `warm_s` stays out of its figures, `engine` is as `Plant` takes it."""
    run = Run(Plant(arrivals, **engine), space.default())
    limits = GovernorLimits.of(space, run.configuration, slo, with_clocks=with_clocks)
    for second in range(duration_s):
        if second == warm_s:
            run.mark()
        sample = run.plant.second()
        step = govern(run.state, sample, run.configuration, limits)
        run.state = step.state
        space.check(step.changes)
        if step.changes:
            run.configuration = run.configuration.with_changes(step.changes)
            run.plant.set(step.changes)
            run.changes.append((second, step.reason))
        elif step.reason:
            run.news.append((second, step.reason))
        run.intervals_s.append(run.configuration["pacing_interval_s"])
    return run


def ungoverned(arrivals, duration_s, interval_s=0.0, warm_s=0, **engine):
    """A run at one pace; `engine` as `Plant` takes it."""
    run = Run(Plant(arrivals, interval_s, **engine), SPACE.default())
    if warm_s:
        run.plant.second(warm_s)
        run.mark()
    run.plant.second(duration_s - warm_s)
    return run


def attainment(records, slo=SLO):
    return sum(slo.met_by(record) for record in records) / len(records)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
