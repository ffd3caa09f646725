"""A small space, and forecasts of all of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.decision import Snapshot
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.domain.history import OwnChanges, SwitchMeasurement
from reconfigure_policies.domain.objective import Objective, ServiceLevelObjective

SPACE = ConfigurationSpace(
    (
        Knob("max_num_seqs", Tier.HOT, (16, 64), 64),
        Knob("pacing_interval_s", Tier.HOT, (0.0, 0.02), 0.0),
        Knob("block_size", Tier.COLD, (16, 32, 64), 16),
    )
)
CANDIDATES = tuple(SPACE.enumerate())
SLO = ServiceLevelObjective(ttft_s=1.0, tpot_s=0.05)
CONTEXT = WorkloadContext(10.0, 500.0, 100.0)
#: A switch of ten seconds that takes 10 kJ.
PAST = (SwitchMeasurement(0.0, "overlapped", 10.0, {"energy_j": 10_000.0, "stall_p95_s": 0.1, "live_requests": 3.0}),)
NOW = 1_000_000.0


def estimate(median, spread=0.05):
    return Estimate(median, median * (1 - spread), median * (1 + spread))


def forecast(configuration, energy_j=0.3, tps=3000.0, ttft_s=0.2, tpot_s=0.02, spread=0.05, **facts):
    return Forecast(
        configuration,
        CONTEXT,
        estimate(energy_j, spread),
        estimate(tps, spread),
        estimate(ttft_s, spread),
        estimate(tpot_s, spread),
        **facts,
    )


def block(size, **knobs):
    return SPACE.default().with_changes({"block_size": size, **knobs})


def forecasts_with(**by_block):
    """All of the space at 0.3 J, but for blocks named like `block_32=dict(energy_j=0.2)`."""
    return tuple(forecast(each, **by_block.get(f"block_{each['block_size']}", {})) for each in CANDIDATES)


def reserved_for(block_size, objective):
    """The space, in which only this objective may choose a block size."""
    owners = ((block_size, frozenset({objective})),)
    return replace(
        SPACE, knobs=tuple(replace(k, reserved=owners) if k.name == "block_size" else k for k in SPACE.knobs)
    )


def snapshot(forecasts=(), **facts):
    given = {"at": NOW, "enforced": SPACE.default(), "objective": Objective.ENERGY, "slo": SLO, "forecasts": forecasts}
    return Snapshot(**{**given, **facts})


FIGURES = st.fixed_dictionaries(
    {
        "energy_j": st.floats(0.05, 2.0),
        "tps": st.floats(100, 10_000),
        "ttft_s": st.floats(0.01, 2.0),
        "tpot_s": st.floats(0.001, 0.1),
        "spread": st.floats(0.0, 0.5),
        "feasibility": st.floats(0.0, 1.0),
    }
)
FORECASTS = st.tuples(*[FIGURES.map(lambda figures, each=each: forecast(each, **figures)) for each in CANDIDATES])
OWN = st.builds(
    OwnChanges,
    redeploys_at=st.lists(st.floats(NOW - 8000, NOW), max_size=4).map(sorted).map(tuple),
    distrusted=st.lists(st.tuples(st.sampled_from(CANDIDATES), st.floats(NOW - 100, NOW + 100)), max_size=3).map(tuple),
    used_j=st.floats(0, 1e8),
)
SNAPSHOTS = st.builds(
    lambda forecasts, strained, enforced, objective, governed: snapshot(
        forecasts, strained=strained, enforced=Configuration(enforced), objective=objective, governed=governed
    ),
    FORECASTS,
    FORECASTS,
    st.sampled_from(CANDIDATES),
    st.sampled_from(list(Objective)),
    st.sampled_from([frozenset(), frozenset({"pacing_interval_s"})]),
)
