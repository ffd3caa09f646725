"""Whose joules the governor may go by, and what an engine host must offer."""

from __future__ import annotations

import pytest

from reconfigure_daemon.control_loop.governor_leave import withheld_by_engine, withheld_by_meter
from reconfigure_daemon.ports import Capabilities, TelemetryBatch
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource
from reconfigure_policies.domain.steps import StepTotals
from reconfigure_policies.domain.workload import IterationTotals

TOTALS = IterationTotals(9.0, 100, 5000, 400, 2000, 50, 40, 3, 6, 1, 0.25)
BATCH = TelemetryBatch(host_id="h1", now_s=9.0, next_after=1, dropped=0, records=[], totals=TOTALS, steps=StepTotals())


def joules(source):
    return EnergyReading(1.0, (DeviceEnergy("gpu0", source, 5.0),))


@pytest.mark.parametrize(
    ("engine", "source", "metered", "why"),
    [
        ("vllm", EnergySource.MEASURED, False, None),
        ("vllm", EnergySource.INTEGRATED, False, None),
        ("vllm", EnergySource.ESTIMATED, False, "joules are estimated, not measured"),
        ("vllm", EnergySource.ESTIMATED, True, "joules are estimated, not measured"),
        ("vllm", EnergySource.UNKNOWN, False, "joules are unknown, not measured"),
        ("vllm", EnergySource.UNKNOWN, True, None),
        ("emulated", EnergySource.ESTIMATED, False, None),
        ("emulated", EnergySource.UNKNOWN, False, "joules are unknown, not measured"),
    ],
)
def test_only_joules_of_the_engine_itself_count(host_state, engine, source, metered, why):
    """A guess about a real machine does not; a meter that falls silent later does not end what holds the SLO."""
    state = host_state({"pacing_interval_s": 0}, engine=engine)
    assert withheld_by_meter(state, joules(source), metered) == why


def test_a_host_that_cannot_pace_or_does_not_sum_its_steps_is_left_alone(host_state):
    """An untested vLLM has no hot knobs, and an older host no sums; each is told."""
    paced = Capabilities(hot_knobs=["pacing_interval_s"], exact_replay=True, switch_modes=[])
    state = host_state({"pacing_interval_s": 0}, capabilities=paced)
    assert withheld_by_engine(state, BATCH) is None
    assert "does not sum its steps" in withheld_by_engine(state, BATCH.model_copy(update={"steps": None}))
    assert "cannot change pacing_interval_s" in withheld_by_engine(host_state({}), BATCH)
