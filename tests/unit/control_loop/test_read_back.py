from __future__ import annotations

from reconfigure_daemon.control_loop.read_back import drains, unmet, verdict
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, OutcomeKind

BEFORE = Configuration({"max_num_seqs": 64, "pacing_interval_s": 0, "block_size": 16})
LOWERED = BEFORE.with_changes({"max_num_seqs": 16})
ADJUST = Decision(DecisionKind.ADJUST, "r", LOWERED, hot={"max_num_seqs": 16})
REDEPLOY = Decision(
    DecisionKind.REDEPLOY,
    "r",
    LOWERED.with_changes({"block_size": 32}),
    hot={"max_num_seqs": 16},
    cold={"block_size": 32},
)


def test_an_adjust_answers_for_its_own_knobs_only(host_state):
    """Another knob that differs from the target is none of its doing."""
    state = host_state({"max_num_seqs": 16, "pacing_interval_s": 0.02, "block_size": 16})
    assert unmet(ADJUST, state.enforced) == {}
    assert verdict(ADJUST, BEFORE, state) == (OutcomeKind.APPLIED, "the engine enforces the target")


def test_a_redeploy_answers_for_every_knob(host_state):
    """A new core that came up with one value of its own has not reached its target."""
    state = host_state({"max_num_seqs": 16, "pacing_interval_s": 0.02, "block_size": 32})
    kind, detail = verdict(REDEPLOY, BEFORE, state)
    assert kind is OutcomeKind.FAILED
    assert detail == "the engine enforces pacing_interval_s=0.02 and not pacing_interval_s=0"


def test_nothing_changed_reads_as_rolled_back(host_state):
    """Everything that was asked for has the value from before."""
    kind, detail = verdict(ADJUST, BEFORE, host_state(dict(BEFORE)))
    assert kind is OutcomeKind.ROLLED_BACK
    assert detail.endswith("as before")


def test_a_lowered_cap_above_its_target_drains_while_requests_run(host_state):
    """The host has taken the target and cannot enforce it before enough requests have finished: unknown as yet."""
    state = host_state({**BEFORE, "max_num_seqs": 40}, target=dict(LOWERED), live_requests=40)
    assert drains(ADJUST, BEFORE, state)
    kind, detail = verdict(ADJUST, BEFORE, state)
    assert kind is OutcomeKind.UNKNOWN
    assert detail.endswith("it drains down while 40 requests run")


def test_without_live_requests_nothing_drains(host_state):
    """Nothing holds the cap up, so a cap above its target is not enforced."""
    state = host_state({**BEFORE, "max_num_seqs": 40}, target=dict(LOWERED))
    assert verdict(ADJUST, BEFORE, state)[0] is OutcomeKind.FAILED


def test_a_host_that_did_not_take_the_target_does_not_drain(host_state):
    """Draining needs a target to drain to."""
    state = host_state({**BEFORE, "max_num_seqs": 40}, target=dict(BEFORE), live_requests=40)
    assert not drains(ADJUST, BEFORE, state)


def test_a_raised_or_switched_knob_does_not_drain(host_state):
    """Only what was lowered can be on its way down; a pace that is not kept is simply not kept."""
    paced = Decision(DecisionKind.ADJUST, "r", BEFORE, hot={"pacing_interval_s": 0.02})
    state = host_state(dict(BEFORE), target={**BEFORE, "pacing_interval_s": 0.02}, live_requests=5)
    assert not drains(paced, BEFORE, state)


def test_a_cold_knob_does_not_drain(host_state):
    """A new core with an old value has failed, however many requests live."""
    state = host_state({**LOWERED}, target=dict(REDEPLOY.target), live_requests=5)
    assert verdict(REDEPLOY, BEFORE, state)[0] is OutcomeKind.ROLLED_BACK
