from __future__ import annotations

import os

import pytest

from reconfigure_daemon.store.database import set_aside
from reconfigure_daemon.store.fault_tolerance import RETRY_INTERVAL_S


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def garble_header(path):
    with path.open("r+b") as file:
        file.write(b"this was once a database" * 10)


def garble_page(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 3 * 4096)
        file.write(os.urandom(2 * 4096))


@pytest.fixture
async def filled(open_store, examples):
    """A store with some hundred decisions and windows, closed."""
    store = open_store()
    for n in range(300):
        await store.record_decision(examples.redeploy, float(n))
        await store.record_window(examples.window, examples.large, "host-a", float(n))
    await store.close()


@pytest.mark.parametrize("damage", [truncate, garble_header, garble_page])
@pytest.mark.usefixtures("filled")
async def test_a_damaged_file_is_set_aside_and_a_fresh_one_started(damage, path, open_store, examples):
    """The damaged bytes are kept under a new name, the notice tells both, and the fresh store works and lasts."""
    damage(path)
    damaged = path.read_bytes()
    store = open_store()
    (aside,) = path.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == damaged
    assert aside.name == "reconfigure.db.corrupt-20251121T044000"
    (notice,) = store.notices
    assert aside.name in notice
    assert "was damaged" in notice
    assert store.degraded is None
    await store.record_decision(examples.keep, 1.0)
    await store.close()
    assert [record.decision for record in await open_store().decisions()] == [examples.keep]


def garble_under(store, path):
    """Break every page but the first of a file that is open, and make SQLite read it anew."""
    store._file._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._file._connection.execute("PRAGMA cache_size = 0")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


@pytest.mark.usefixtures("filled")
async def test_damage_that_shows_while_the_store_is_in_use_costs_only_what_was_on_disk(
    path, open_store, examples, clock
):
    """The file gives way; state and recent decisions are still known, and the fresh file gets them."""
    store = open_store()
    await store.save_state(examples.state)
    decision_id = await store.record_decision(examples.adjust, 1.0)
    garble_under(store, path)
    await store.decisions()
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1
    assert [record.id for record in await store.decisions()] == [decision_id]
    clock.now += RETRY_INTERVAL_S
    await store.record_outcome(decision_id, examples.applied, 2.0)
    assert store.degraded is None
    await store.close()
    store = open_store()
    assert await store.load_state() == examples.state
    assert [record.outcome for record in await store.decisions()] == [examples.applied]


@pytest.mark.usefixtures("filled")
async def test_damage_that_a_cache_hides_is_found_by_the_next_sweep(path, open_store, examples, clock, caplog):
    """Overwritten under an open connection the file seems well; the sweep reads it anew, and one line tells."""
    store = open_store()
    decision_id = await store.record_decision(examples.adjust, clock.now)
    for each in (path, path.with_name(f"{path.name}-wal")):
        each.write_bytes(os.urandom(each.stat().st_size))
    await store.record_outcome(decision_id, examples.applied, clock.now)
    assert store.notices == []
    await store.sweep()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert store.degraded is None
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1
    await store.close()
    assert [record.outcome for record in await open_store().decisions()] == [examples.applied]


@pytest.mark.usefixtures("filled")
async def test_a_damaged_file_that_cannot_be_set_aside_is_a_fault_like_any_other(path, open_store, examples, clock):
    """A file that somebody removed while it broke leaves the store degraded, and the next try starts a fresh one."""
    store = open_store()
    garble_under(store, path)
    path.unlink()
    await store.record_decision(examples.keep, 1.0)
    assert "No such file" in store.degraded
    clock.now += RETRY_INTERVAL_S
    await store.record_decision(examples.keep, 2.0)
    assert store.degraded is None
    assert [record.at for record in await store.decisions()] == [2.0, 1.0]


async def test_a_row_that_cannot_be_understood_does_not_hide_the_others(open_store, examples, caplog):
    """Text garbled inside an otherwise sound file costs that row and a warning."""
    store = open_store()
    for _ in range(3):
        await store.record_observation(examples.observation)
    await store.save_state(examples.state)
    await store.close()
    store = open_store()
    connection = store._file._connection
    connection.execute("UPDATE observations SET workload = '{broken' WHERE id = 2")
    connection.execute("DELETE FROM state WHERE key = 'paused'")
    assert await store.observations() == [examples.observation] * 2
    assert await store.load_state() is None
    assert caplog.text.count("cannot be understood") == 2
    assert store.notices == []


def test_two_damaged_files_of_one_second_are_both_kept(path):
    """Setting aside never overwrites what was set aside before, and takes the journals along."""
    for content in ("first", "second"):
        path.write_text(content)
        path.with_name(path.name + "-wal").write_text(content)
        set_aside(path, 0.0)
    kept = {file.name: file.read_text() for file in path.parent.iterdir()}
    assert kept == {
        "reconfigure.db.corrupt-19700101T000000": "first",
        "reconfigure.db.corrupt-19700101T000000-wal": "first",
        "reconfigure.db.corrupt-19700101T000000-2": "second",
        "reconfigure.db.corrupt-19700101T000000-2-wal": "second",
    }
