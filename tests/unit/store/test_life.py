from __future__ import annotations

import asyncio
import signal
import sys
import threading

from reconfigure_daemon.ports import Journal
from reconfigure_policies.domain.configuration import Configuration

KILLED_BETWEEN_DECISION_AND_OUTCOME = """
import asyncio, os, signal, sys
from pathlib import Path
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.store import Store
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.objective import Objective

async def main():
    store = Store.open(Path(sys.argv[1]), SystemClock())
    target = Configuration({"block_size": 32})
    await store.save_state(ControllerState(Objective.ENERGY, target=target))
    done = await store.record_decision(Decision(DecisionKind.ADJUST, "first", target), 1.0)
    await store.record_outcome(done, Outcome(OutcomeKind.APPLIED, "done", target, 0.1), 2.0)
    await store.record_decision(Decision(DecisionKind.KEEP, "nothing to do", target), 3.0)
    await store.record_decision(Decision(DecisionKind.REDEPLOY, "second", target, {}, {"block_size": 32}), 4.0)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_decision_outlives_the_controller_that_died_over_it(tmp_path, open_store):
    """After `kill -9` between decision and outcome the next controller finds what was begun, and the state."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_BETWEEN_DECISION_AND_OUTCOME, str(tmp_path)
    )
    assert await process.wait() == -signal.SIGKILL
    store = open_store()
    assert [record.decision.reason for record in await store.pending_decisions()] == ["second"]
    assert len(await store.decisions()) == 3
    assert (await store.load_state()).target == Configuration({"block_size": 32})
    assert store.notices == []


async def test_what_is_older_than_the_retention_is_forgotten(open_store, examples, clock):
    """A sweep takes old rows with everything that hangs on them, keeps the rest and what it needs, and shrinks."""
    store = open_store()
    await store.record_deployment(examples.host)
    for at in (clock.now - 2 * 86400, clock.now):
        for _ in range(200):
            decision_id = await store.record_decision(examples.redeploy, at)
            await store.record_outcome(decision_id, examples.applied, at)
            await store.record_window(examples.window, examples.large, "host-a", at)
    await store.record_observation(examples.observation)
    await store.record_intent(examples.intent)
    await store.record_decision(examples.adjust, clock.now)
    connection = store._file._connection

    def count(of: str) -> int:
        return connection.execute(f"SELECT count(*) FROM {of}").fetchone()[0]

    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    await store.sweep()
    assert [count(t) for t in ("decisions", "outcomes", "windows", "observations")] == [201, 200, 200, 0]
    assert [count(t) for t in ("intents", "hosts", "deployments")] == [1, 1, 1]
    assert connection.execute("PRAGMA page_count").fetchone()[0] < pages
    clock.now += 2 * 86400
    await store.sweep()
    tables = ("decisions", "outcomes", "windows", "intents", "hosts", "deployments")
    assert [count(table) for table in tables] == [0] * 6


async def test_many_tasks_may_use_the_store_at_once(open_store, examples):
    """Every decision gets its own id and keeps its own outcome, whoever else writes or reads meanwhile."""
    store = open_store()

    async def decide(n: int) -> tuple[int, float]:
        decision_id = await store.record_decision(examples.redeploy, float(n))
        await asyncio.gather(store.record_window(examples.window, examples.large, "h", 1.0), store.decisions())
        await store.record_outcome(decision_id, examples.applied, float(n))
        return decision_id, float(n)

    made = dict(await asyncio.gather(*map(decide, range(100))))
    assert sorted(made) == list(range(1, 101))
    assert {record.id: record.outcome_at for record in await store.decisions(limit=100)} == made


async def test_the_event_loop_runs_on_while_the_store_waits(open_store, examples):
    """A slow disk holds up the store's own thread only, and a cancelled caller does not undo what it recorded."""
    store = open_store()
    disk = threading.Event()
    store._thread.submit(disk.wait)
    caller = asyncio.create_task(store.record_decision(examples.redeploy, 1.0))
    await asyncio.sleep(0)
    caller.cancel()
    waiting = asyncio.create_task(store.decisions())
    await asyncio.sleep(0.001)
    assert not waiting.done()
    disk.set()
    assert [record.decision for record in await waiting] == [examples.redeploy]


async def test_the_store_is_the_journal_that_the_control_loop_expects(open_store):
    """Every method of the port exists here under the same name."""
    promised = {name for name in vars(Journal) if not name.startswith("_")}
    assert promised <= set(dir(open_store()))
