from __future__ import annotations

import pytest

from reconfigure_daemon.control_loop.doubts import Doubts
from reconfigure_daemon.ports import ActionState, HostPhase
from reconfigure_daemon.store import Store
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.history import DecisionRecord

BEFORE = Configuration({"max_num_seqs": 64, "block_size": 16})
LOWERED = BEFORE.with_changes({"max_num_seqs": 16})
COLDER = BEFORE.with_changes({"block_size": 32})
ADJUST = Decision(DecisionKind.ADJUST, "r", LOWERED, hot={"max_num_seqs": 16})
REDEPLOY = Decision(DecisionKind.REDEPLOY, "r", COLDER, cold={"block_size": 32})
DEADLINE_S = 300.0


class FixedClock:
    def __init__(self):
        self.now_s = 1000.0

    def wall(self):
        return self.now_s

    monotonic = wall


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
async def store(tmp_path, clock):
    store = Store.open(tmp_path, clock)
    yield store
    await store.close()


def record(number, decision, at=1000.0):
    return DecisionRecord(number, at, decision, BEFORE)


async def test_a_decision_without_an_end_is_taken_up_and_judged(store, clock, host_state):
    """What a killed controller left is settled by what the engine enforces now."""
    number = await store.record_decision(REDEPLOY, 990.0, BEFORE)
    doubts = Doubts(store, clock)
    await doubts.recall()
    [(settled, outcome)] = doubts.settle(host_state(dict(COLDER)), DEADLINE_S)
    assert (settled.id, outcome.kind, outcome.duration_s) == (number, OutcomeKind.APPLIED, 10.0)
    assert len(doubts) == 0


async def test_an_unknown_end_is_taken_up_again_after_a_restart(store, clock, host_state):
    """`unknown` is a doubt, not an end."""
    number = await store.record_decision(REDEPLOY, 990.0, BEFORE)
    await store.record_outcome(number, Outcome(OutcomeKind.UNKNOWN, "lost", None, 1.0), 991.0)
    doubts = Doubts(store, clock)
    await doubts.recall()
    [(_, outcome)] = doubts.settle(host_state(dict(BEFORE)), DEADLINE_S)
    assert outcome.kind is OutcomeKind.ROLLED_BACK


async def test_what_was_overtaken_stays_unknown(store, clock, host_state):
    """What is enforced says nothing of a decision that a later one has followed."""
    first = await store.record_decision(REDEPLOY, 990.0, BEFORE)
    second = await store.record_decision(ADJUST, 995.0, BEFORE)
    await store.record_outcome(second, Outcome(OutcomeKind.APPLIED, "", LOWERED, 1.0), 996.0)
    doubts = Doubts(store, clock)
    await doubts.recall()
    [(settled, outcome)] = doubts.settle(host_state(dict(COLDER)), DEADLINE_S)
    assert (settled.id, outcome.kind) == (first, OutcomeKind.UNKNOWN)
    assert "a later decision has overtaken it" in outcome.detail


async def test_a_busy_host_is_not_judged(store, clock, host_state):
    """In the middle of a switch the enforced state says nothing."""
    doubts = Doubts(store, clock)
    doubts.add(record(1, REDEPLOY))
    switching = ActionState(kind="switch", since=0.0, phase="boot")
    assert doubts.settle(host_state(dict(BEFORE), action=switching), DEADLINE_S) == []
    assert doubts.settle(host_state(dict(BEFORE), phase=HostPhase.RECOVERING), DEADLINE_S) == []
    assert len(doubts) == 1


async def test_a_draining_cap_is_waited_for_until_the_deadline(store, clock, host_state):
    """It stays in doubt while it drains, ends as applied when it gets there, and as failed when time is up."""
    draining = host_state({**BEFORE, "max_num_seqs": 40}, target=dict(LOWERED), live_requests=40)
    doubts = Doubts(store, clock)
    doubts.add(record(1, ADJUST))
    assert doubts.settle(draining, DEADLINE_S) == []
    clock.now_s += DEADLINE_S
    [(_, outcome)] = doubts.settle(draining, DEADLINE_S)
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.detail.startswith("read back later: after 300 s the engine enforces max_num_seqs=40")
