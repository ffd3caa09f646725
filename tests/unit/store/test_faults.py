from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys

import pytest

from reconfigure_daemon.store import Store
from reconfigure_daemon.store.backlog import Backlog
from reconfigure_daemon.store.fault_tolerance import RETRY_INTERVAL_S
from reconfigure_policies.domain.history import DecisionRecord


def fill_disk(store):
    """No page can be added any more: SQLite's own `database or disk is full`."""
    connection = store._file._connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")


async def until_full(store, examples):
    while store.degraded is None:
        await store.record_window(examples.window, examples.large, "host-a", 1.0)


async def test_a_full_disk_stops_learning_and_nothing_else(open_store, examples, clock, caplog):
    """Decisions, outcomes and state go on in memory, one line tells it, and the disk gets them when it can."""
    store = open_store()
    first = await store.record_decision(examples.redeploy, 1.0)
    fill_disk(store)
    await until_full(store, examples)
    second = await store.record_decision(examples.adjust, 2.0)
    await store.record_outcome(first, examples.applied, 3.0, "overlapped")
    await store.save_state(examples.state)
    await store.record_observation(examples.observation)

    assert [(r.id, r.outcome) for r in await store.decisions()] == [(second, None), (first, examples.applied)]
    assert [record.id for record in await store.pending_decisions()] == [second]
    assert await store.load_state() == examples.state
    assert await store.observations() == []
    (notice,) = store.notices
    assert "is full; free some space; until then recent decisions stay in memory" in notice
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [notice]

    clock.now += RETRY_INTERVAL_S
    await store.record_observation(examples.observation)
    assert (store.degraded, store.notices) == (None, [])
    await store.close()
    store = open_store()
    assert [(r.id, r.outcome) for r in await store.decisions()] == [(second, None), (first, examples.applied)]
    assert await store.load_state() == examples.state
    assert await store.observations() == [examples.observation]


async def test_a_failing_disk_is_left_alone_between_two_tries(open_store, examples, clock):
    """The disk is tried again only after the interval, so that a control loop never waits on it each tick."""
    store = open_store()
    fill_disk(store)
    await until_full(store, examples)
    tried = []
    store._file._connection.set_trace_callback(tried.append)
    for _ in range(20):
        clock.now += RETRY_INTERVAL_S / 21
        await store.record_decision(examples.keep, 1.0)
    assert tried == []
    clock.now += RETRY_INTERVAL_S
    await store.record_decision(examples.keep, 1.0)
    assert store.degraded is None
    assert store._file._connection.execute("SELECT count(*) FROM decisions").fetchone()[0] == 21


ON_A_SMALL_DISK = """
import asyncio, json, logging, resource, sys
from pathlib import Path
from reconfigure_daemon.store import Store
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind

class Clock:
    now = 0.0
    def wall(self): return self.now
    monotonic = wall

async def main(directory):
    clock = Clock()
    store = Store.open(directory, clock)
    decision = Decision(DecisionKind.KEEP, "x" * 2000, Configuration())
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    while store.degraded is None:
        last = await store.record_decision(decision, 1.0)
    told = store.degraded
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    clock.now = 1000.0
    last = await store.record_decision(decision, 1.0)
    still = store.degraded is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    clock.now = 2000.0
    last = await store.record_decision(decision, 1.0)
    await store.close()
    print(json.dumps({"told": told, "still": still, "after": store.degraded, "last": last}))

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_write_that_the_kernel_refuses_is_survived(tmp_path, open_store):
    """With a real limit on file size writes fail, keep failing, and succeed again without a decision lost."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    seen = json.loads(printed)
    assert "the store" in seen["told"]
    assert seen["still"]
    assert seen["after"] is None
    assert len(await open_store().decisions(limit=10_000)) == seen["last"]


@pytest.fixture
def lock(path):
    """Another process's grip on the file; released by closing it."""
    other = sqlite3.connect(path, isolation_level=None)
    yield other
    other.close()


async def test_a_lock_is_waited_for_and_then_told(open_store, examples, clock, lock):
    """While another process holds the write lock, history is read from the file and grows in memory."""
    store = open_store()
    await store.record_decision(examples.keep, 1.0)
    lock.execute("BEGIN IMMEDIATE")
    await store.record_decision(examples.adjust, 2.0)
    assert "another process has locked the store" in store.degraded
    assert "for more than 0.02 s; find and stop it" in store.degraded
    assert [record.id for record in await store.decisions()] == [2, 1]
    lock.execute("ROLLBACK")
    clock.now += RETRY_INTERVAL_S
    await store.record_decision(examples.keep, 3.0)
    assert store.notices == []


async def test_a_store_that_is_locked_from_the_start_catches_up_in_order(open_store, examples, clock, lock):
    """Ids given before the file could be read are above those in it, so the order of decisions holds."""
    earlier = open_store()
    await earlier.record_decision(examples.keep, 1.0)
    await earlier.close()
    lock.execute("PRAGMA locking_mode = EXCLUSIVE")
    lock.execute("BEGIN IMMEDIATE")
    lock.execute("CREATE TABLE held (x)")
    lock.execute("COMMIT")
    store = open_store()
    assert "another process has locked the store" in store.degraded
    unseen = await store.record_decision(examples.adjust, 2.0)
    lock.close()
    clock.now += RETRY_INTERVAL_S
    seen = await store.record_decision(examples.redeploy, 3.0)
    assert store.degraded is None
    assert [record.id for record in await store.decisions()] == [seen, unseen, 1]


async def test_a_directory_that_cannot_be_made_is_told(tmp_path, clock, examples):
    """A state directory under a plain file leaves the store degraded from the start, not the daemon dead."""
    (tmp_path / "file").write_text("in the way")
    store = Store.open(tmp_path / "file" / "state", clock)
    await store.record_decision(examples.keep, 1.0)
    assert "cannot be written" in store.degraded
    assert "check its directory's owner, mode and mount" in store.degraded
    assert [record.decision for record in await store.decisions()] == [examples.keep]
    await store.sweep()
    await store.close()


async def test_a_disk_that_became_read_only_is_told(open_store, examples):
    """SQLite's refusal to write ends as a sentence, and what was stored can still be read."""
    store = open_store()
    await store.record_observation(examples.observation)
    store._file._connection.execute("PRAGMA query_only = ON")
    await store.record_window(examples.window, examples.large, "host-a", 1.0)
    assert "cannot be written (attempt to write a readonly database)" in store.degraded
    assert await store.observations() == [examples.observation]


def test_memory_is_bounded_and_admits_what_it_lost(examples):
    """Beyond its capacity the oldest decision goes; it counts as lost only if the disk never had it."""
    backlog = Backlog(capacity=2)
    for n in (1, 2, 3):
        backlog.keep(DecisionRecord(n, 0.0, examples.keep))
    assert ([record.id for record in backlog.laid_over([])], backlog.lost) == ([3, 2], 1)
    backlog.written()
    backlog.keep(DecisionRecord(4, 0.0, examples.keep))
    assert (len(backlog), backlog.lost) == (1, 1)
