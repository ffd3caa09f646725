"""What the planner makes of what a swing on two H200s had measured so far; docs/decisions/0019."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from benchmarks.harness.machine import PROJECT
from reconfigure_daemon.control_loop.snapshots import snapshot_of
from reconfigure_daemon.learning.training import training_set
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.store.rows import decode_window
from reconfigure_policies.change_detection import busiest_context, usual_context
from reconfigure_policies.decision.governor import governed_knobs
from reconfigure_policies.decision.slow_loop import answer
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.history import ControllerState, Observation, OwnChanges, SwitchMeasurement
from reconfigure_policies.domain.objective import Objective
from reconfigure_policies.surrogate import Measured, Quantity, Surrogates, Trial, fit, quality, trial_from_observation

RECORDED = json.loads(
    (PROJECT / "benchmarks/measurements/gpu.parallel_swing_tp2.learned.2026-11-30.json").read_text("utf-8")
)
SETTINGS = Settings.model_validate(RECORDED["settings"])
SPACE = SETTINGS.configuration_space()
TWO_GPUS, ONE_GPU = 2, 1

#: Windows that the slow loop remembers.
REMEMBERED = 20


@dataclass(frozen=True)
class Known:
    """What was known at the end of a window."""

    surrogates: Surrogates
    observations: list[Observation]
    switches: list[SwitchMeasurement]


def known_after(windows: int) -> Known:
    """Trials before the swing, and what its first windows taught."""
    seen = [observation(each) for each in RECORDED["windows"][:windows]]
    learned = [each for each, of in zip(seen, RECORDED["windows"], strict=False) if of["learned"]]
    at_s = seen[-1].at
    trials = training_set([*map(trial, RECORDED["trials"]), *map(trial_from_observation, learned)], SPACE)
    switches = [
        SwitchMeasurement(each["at_s"], each["mode"], each["duration_s"], each["measurements"])
        for each in RECORDED["switches"]
        if each["at_s"] < at_s
    ]
    return Known(fit(trials, SPACE), seen[-REMEMBERED:], switches)


def trial(recorded) -> Trial:
    measured = {Quantity(name): Measured(*values) for name, values in recorded["measured"].items()}
    configuration, context = Configuration(recorded["configuration"]), WorkloadContext(**recorded["context"])
    return Trial(configuration, context, recorded["at_s"], measured)


def observation(recorded) -> Observation:
    window = decode_window(json.dumps(recorded["workload"]))
    return Observation(recorded["at_s"], "", "vllm", "", "", Configuration(recorded["configuration"]), window)


def decided(known: Known) -> Decision:
    """By the slow loop, on an occasion after the last window, while the governor paces."""
    windows = tuple(each.window for each in known.observations)
    last, candidates = known.observations[-1], tuple(SPACE.enumerate())
    usual, busiest = usual_context(windows), busiest_context(windows)
    assert usual is not None
    assert busiest is not None
    snapshot = replace(
        snapshot_of(SETTINGS, ControllerState(Objective.ENERGY), last.configuration, windows, last.at),
        forecasts=known.surrogates.forecast(candidates, usual),
        strained=known.surrogates.forecast(candidates, busiest),
        governed=governed_knobs(with_clocks=False),
    )
    occasion = "enough of the workload was seen"
    return answer(occasion, snapshot, SPACE, SETTINGS.decision.to_domain(), OwnChanges(), known.switches).decision


@pytest.mark.parametrize("windows", [4, 10])
def test_a_low_load_is_served_by_one_gpu(windows: int):
    """Although the pace that the governor found to hold is foretold to break the SLO; that is no reason given."""
    known = known_after(windows)
    assert quality(known.surrogates).is_trusted
    decision = decided(known)
    assert decision.kind is DecisionKind.REDEPLOY
    assert decision.target["tensor_parallel_size"] == ONE_GPU
    assert "may reach" not in decision.reason
    assert ", each with the governor's knobs where they surely hold, " in decision.reason
    if windows == 4:
        assert "0.697 (0.465 to 1.05) J per output token instead of 0.881 (0.55 to 1.41)" in decision.reason


@pytest.mark.parametrize("windows", [20, 24, 27])
def test_the_top_is_served_by_two(windows: int):
    """Although nothing surely holds the busiest, and one GPU is foretold to be cheaper at the usual load."""
    known = known_after(windows)
    assert known.observations[-1].window.arrival_rate_rps > 15
    decision = decided(known)
    assert (decision.kind, decision.target["tensor_parallel_size"]) == (DecisionKind.KEEP, TWO_GPUS)
