"""What the governor sees of an engine with replicas: the average one, at the joules of all."""

from __future__ import annotations

from dataclasses import replace

from reconfigure_daemon.control_loop.governor_sight import GovernorSight
from reconfigure_daemon.ports import TelemetryBatch
from reconfigure_policies.domain.steps import StepMoments, StepTotals
from reconfigure_policies.domain.workload import IterationTotals

TOTALS = IterationTotals(9.0, 100, 5000, 400, 2000, 50, 40, 3, 6, 1, 0.25)


def batch(totals, steps, replicas):
    moments = StepMoments().plus([float(steps)] * 15)
    return TelemetryBatch(
        host_id="h1",
        now_s=totals.at_s,
        next_after=1,
        dropped=0,
        records=[],
        totals=totals,
        steps=StepTotals(decode_only=moments),
        replicas=replicas,
    )


def test_a_sample_is_of_one_replica_and_a_token_costs_what_it_cost():
    """Four replicas: a quarter of requests, tokens, steps and joules, and as many joules for each token as before."""
    sight = GovernorSight()
    assert sight.sample(batch(TOTALS, 40, 4), 1000.0) is None
    later = replace(TOTALS, at_s=10.0, arrived=58, output_tokens=2080, running=10)
    sample = sight.sample(batch(later, 140, 4), 1160.0)
    assert (sample.replicas, sample.arrivals, sample.output_tokens, sample.running) == (4, 2, 20, 2.5)
    assert (sample.steps.steps, sample.energy_j) == (25, 40)
    assert sight.energy.per_output_token_j == 2.0
