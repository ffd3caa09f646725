from __future__ import annotations

import tempfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.store import Store
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.domain.history import Canary, ControllerState, Observation, OwnChanges, SwitchMeasurement
from reconfigure_policies.domain.objective import (
    AppliedConfiguration,
    CoveredObjective,
    IntentKind,
    Objective,
    OperatorIntent,
)
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow

names = st.text(min_size=1, max_size=8)
seconds = st.floats(min_value=0, max_value=4e9)
counts = st.integers(min_value=0, max_value=2**53)
values = st.one_of(st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text(max_size=8))
changes = st.dictionaries(names, values, max_size=4)
configurations = st.builds(Configuration, changes)
maybe_seconds = st.none() | seconds
percentiles = st.builds(Percentiles, maybe_seconds, maybe_seconds, maybe_seconds)
measurements = st.dictionaries(names, st.floats(allow_nan=False), max_size=3)
intents = st.builds(
    OperatorIntent,
    id=st.uuids().map(str),
    kind=st.sampled_from(IntentKind),
    received_at=seconds,
    source=st.sampled_from(["cli", "api", "schedule", "start"]),
    objective=st.none() | st.sampled_from(Objective),
    changes=changes,
    expires_at=maybe_seconds,
)
estimates = st.builds(Estimate, seconds, seconds, seconds)
expected = st.dictionaries(names, estimates, max_size=3)
decisions = st.builds(
    Decision,
    kind=st.sampled_from(DecisionKind),
    reason=st.text(max_size=30),
    target=configurations,
    hot=changes,
    cold=changes,
    intent=st.none() | intents,
    author=st.sampled_from(Author),
    expected=expected,
)
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    detail=st.text(max_size=30),
    enforced=st.none() | configurations,
    duration_s=seconds,
    measurements=measurements,
)
windows = st.builds(
    WorkloadWindow,
    started_s=seconds,
    duration_s=seconds,
    arrivals=counts,
    finished=counts,
    slo_met=counts,
    prompt_tokens=counts,
    cached_prompt_tokens=counts,
    output_tokens=counts,
    preemptions=counts,
    mean_running=seconds,
    mean_waiting=seconds,
    ttft_s=percentiles,
    itl_s=percentiles,
    tpot_s=percentiles,
    e2e_latency_s=percentiles,
    energy_j=maybe_seconds,
    energy_source=st.sampled_from(["measured", "estimated", "unknown"]),
    energy_by_source_j=st.dictionaries(st.sampled_from(["measured", "estimated"]), seconds),
    dropped=counts,
    aborted=counts,
)
observations = st.builds(Observation, seconds, names, names, names, names, configurations, windows)
covered = st.lists(
    st.builds(CoveredObjective, st.sampled_from(Objective), maybe_seconds, configurations), max_size=2
).map(tuple)
states = st.builds(
    ControllerState,
    objective=st.sampled_from(Objective),
    objective_until=maybe_seconds,
    paused=st.booleans(),
    target=st.none() | configurations,
    previous=st.lists(
        st.builds(AppliedConfiguration, configurations, st.sampled_from(Objective), maybe_seconds, covered), max_size=3
    ).map(tuple),
    covered=covered,
    pinned=st.none() | names,
    own=st.builds(
        OwnChanges,
        canary=st.none()
        | st.builds(Canary, counts, seconds, configurations, configurations, expected, exploring=st.booleans()),
        redeploys_at=st.lists(seconds, max_size=3).map(tuple),
        distrusted=st.lists(st.tuples(configurations, seconds), max_size=2).map(tuple),
        explored_j=seconds,
        used_j=seconds,
    ),
)


def exactly(value: object) -> str:
    """`1`, `1.0` and `True` are equal to Python and three values to an engine; their representations differ."""
    return repr(value)


async def reopened(directory: Path, store: Store) -> Store:
    await store.close()
    return Store.open(directory, SystemClock())


@settings(max_examples=40, deadline=None)
@given(decision=decisions, at=seconds, before=st.none() | configurations, outcome=st.none() | outcomes)
async def test_a_decision_and_its_outcome_come_back_as_they_were(decision, at, before, outcome):
    """What was decided, why, from where, for whom and how it ended is the same after a restart."""
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name), SystemClock())
        decision_id = await store.record_decision(decision, at, before)
        if outcome is not None:
            await store.record_outcome(decision_id, outcome, at + 1, mode="overlapped")
        store = await reopened(Path(name), store)
        (record,) = await store.decisions()
        await store.close()
    assert (record.id, record.at, exactly(record.decision)) == (decision_id, at, exactly(decision))
    assert exactly(record.enforced_before) == exactly(before)
    assert exactly(record.outcome) == exactly(outcome)
    assert (record.outcome_at, record.mode) == ((None, None) if outcome is None else (at + 1, "overlapped"))


@settings(max_examples=40, deadline=None)
@given(observation=observations)
async def test_an_observation_comes_back_as_it_was(observation):
    """A surrogate learns from the very numbers that were measured."""
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name), SystemClock())
        await store.record_observation(observation)
        store = await reopened(Path(name), store)
        (found,) = await store.observations()
        await store.close()
    assert exactly(found) == exactly(observation)


@settings(max_examples=40, deadline=None)
@given(first=states, second=states)
async def test_the_last_state_comes_back_after_a_restart(first, second):
    """The newest state replaces the one before, every part of it."""
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(Path(name), SystemClock())
        await store.save_state(first)
        await store.save_state(second)
        store = await reopened(Path(name), store)
        found = await store.load_state()
        await store.close()
    assert exactly(found) == exactly(second)


async def test_a_fresh_store_has_nothing(open_store):
    """An empty store answers every question with nothing, and has nothing to complain of."""
    store = open_store()
    assert (await store.decisions(), await store.observations(), await store.load_state()) == ([], [], None)
    assert (await store.switch_measurements(), await store.pending_decisions(), store.notices) == ([], [], [])


async def test_history_is_paged_newest_first(open_store, examples):
    """`before` continues where the last page ended, whether its decisions are in memory or not."""
    store = open_store()
    ids = [await store.record_decision(examples.keep, float(n)) for n in range(250)]
    assert [record.id for record in await store.decisions(limit=3)] == ids[:-4:-1]
    pages, before = [], None
    while page := await store.decisions(limit=60, before=before):
        pages += [record.id for record in page]
        before = page[-1].id
    assert pages == ids[::-1]


async def test_an_unknown_outcome_gives_way_to_the_reconciled_one(open_store, examples):
    """The last word on a decision is the one that is kept, also on one that an earlier controller made."""
    store = open_store()
    decision_id = await store.record_decision(examples.redeploy, 1.0)
    await store.record_outcome(decision_id, examples.unknown, 2.0)
    await store.close()
    store = open_store()
    await store.record_outcome(decision_id, examples.applied, 3.0, mode="sequential")
    await store.close()
    (record,) = await open_store().decisions()
    assert (record.outcome, record.outcome_at, record.mode) == (examples.applied, 3.0, "sequential")


async def test_an_outcome_without_its_decision_is_refused_with_a_word(open_store, examples, caplog):
    """An outcome of a decision that nobody knows is logged and changes nothing."""
    store = open_store()
    await store.record_outcome(77, examples.applied, 1.0)
    assert "decision 77" in caplog.text
    assert await store.decisions() == []


async def test_only_successful_cold_switches_are_measurements(open_store, examples):
    """A plan is not judged by hot changes nor by switches that failed; the newest come first."""
    store = open_store()
    for at, outcome, mode in (
        (1.0, examples.applied, "overlapped"),
        (2.0, examples.applied, None),
        (3.0, examples.failed, "overlapped"),
        (4.0, examples.applied, "sequential"),
    ):
        await store.record_outcome(await store.record_decision(examples.redeploy, at), outcome, at, mode)
    latest, first = await store.switch_measurements()
    assert latest == SwitchMeasurement(4.0, "sequential", 2.5, {"stall_p95_s": 0.06, "energy_j": 900.0})
    assert (latest.stall_p95_s, latest.energy_j, first.mode) == (0.06, 900.0, "overlapped")
    assert [switch.at for switch in await store.switch_measurements(limit=1)] == [4.0]


async def test_engine_words_that_are_not_unicode_are_kept_readable(open_store, examples):
    """A stray byte in vLLM's last error does not cost the outcome."""
    store = open_store()
    decision_id = await store.record_decision(examples.redeploy, 1.0)
    await store.record_outcome(decision_id, Outcome(OutcomeKind.FAILED, "died: \udcff!", None, 1.0), 2.0)
    await store.close()
    (record,) = await open_store().decisions()
    assert record.outcome.detail == "died: ?!"


async def test_a_host_is_kept_once_with_each_of_its_deployments(open_store, examples):
    """Saying the same again changes nothing; the next core of the same host is one more deployment."""
    store = open_store()
    second = examples.host.deployment.model_copy(update={"id": 2})
    for host in (examples.host, examples.host, examples.host.model_copy(update={"deployment": second})):
        await store.record_deployment(host)
    connection = store._file._connection
    assert connection.execute("SELECT count(*) FROM hosts").fetchone()[0] == 1
    assert [row["number"] for row in connection.execute("SELECT number FROM deployments")] == [1, 2]


async def test_an_intent_is_kept_also_before_its_decision(open_store, examples):
    """An intent that came first by itself is the one that its decision refers to."""
    store = open_store()
    await store.record_intent(examples.intent)
    await store.record_decision(examples.adjust, 1.0)
    await store.close()
    (record,) = await open_store().decisions()
    assert record.decision.intent == examples.intent


def texts_in(kind: Any, where: str = "") -> set[str]:
    """The names of every field of free text in a type, however deep."""
    if kind is str:
        return {where}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return set().union(*(texts_in(hints[f.name], f.name) for f in fields(kind)))
    if get_origin(kind) in (Union, UnionType, tuple):
        return set().union(*(texts_in(part, where) for part in get_args(kind)), set())
    return set()


@pytest.mark.parametrize("kind", [Decision, Outcome, Observation, ControllerState])
def test_no_stored_type_has_room_for_a_prompt(kind):
    """The only free texts that reach the disk are the daemon's own sentences, names and versions."""
    known = {"reason", "detail", "id", "source", "energy_source", "host_id", "engine", "engine_version", "model"}
    assert texts_in(kind) <= known | {"hands_off", "pinned", "schedule"}
