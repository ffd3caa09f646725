from __future__ import annotations

import json
import sqlite3

import pytest

from reconfigure_daemon.store.database import connect
from reconfigure_daemon.store.rows import decode_state, decode_window, encode_state, encode_window
from reconfigure_daemon.store.schema import MIGRATIONS, migrate, version_of
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.history import ControllerState, OwnChanges
from reconfigure_policies.domain.objective import AppliedConfiguration, Objective

LATEST = len(MIGRATIONS)


def written_by_version(path, version):
    """A store as that version left it, with a decision in it where it had any."""
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, MIGRATIONS[:version])
    if version >= 1:
        connection.execute(
            "INSERT INTO decisions (id, at, kind, reason, target, hot, cold)"
            " VALUES (7, 1.0, 'keep', 'old', '{}', '{}', '{}')"
        )
    connection.close()


@pytest.mark.parametrize("version", range(LATEST + 1))
async def test_every_older_store_is_brought_up_to_date(version, path, open_store, examples):
    """Whichever version wrote the file, its decisions stay, and everything new can be kept."""
    written_by_version(path, version)
    store = open_store()
    decision_id = await store.record_decision(examples.adjust, 2.0)
    await store.record_observation(examples.observation)
    assert store.notices == []
    reasons = [record.decision.reason for record in await store.decisions()]
    assert reasons == [examples.adjust.reason, "old"][: 1 + (version >= 1)]
    assert decision_id == (8 if version >= 1 else 1)
    assert await store.observations() == [examples.observation]
    assert version_of(store._file._connection) == LATEST


def test_configurations_kept_without_an_objective_count_as_of_the_one_in_force():
    """An earlier version kept bare configurations for rollback; they are read as it left them."""
    pairs = encode_state(ControllerState(Objective.ENERGY)) | {"previous": '[{"block_size": 32}]'}
    (applied,) = decode_state(pairs).previous
    assert applied == AppliedConfiguration(Configuration({"block_size": 32}), Objective.ENERGY)


def test_what_was_known_to_be_good_is_passed_by():
    """An earlier version kept the last configuration that held, which nobody read; the rest of it counts."""
    own = OwnChanges(redeploys_at=(1.0, 2.0), explored_j=3.0, used_j=400.0)
    pairs = encode_state(ControllerState(Objective.ENERGY, own=own))
    for known_good in (None, {"block_size": 32}):
        older = json.dumps({**json.loads(pairs["own"]), "known_good": known_good})
        assert decode_state(pairs | {"own": older}).own == own


def test_windows_from_before_aborted_requests_were_counted_have_none(examples):
    """What is not in a stored window has its default."""
    window = examples.observation.window
    stored = json.loads(encode_window(window))
    del stored["aborted"]
    assert decode_window(json.dumps(stored)) == window


def test_a_step_is_taken_whole_or_not_at_all(tmp_path):
    """A step that fails in its middle leaves the file at the last whole one."""
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    steps = ("CREATE TABLE a (x);", "CREATE TABLE b (x); CREATE TABLE a (x);")
    with pytest.raises(sqlite3.OperationalError, match="table a already exists"):
        migrate(connection, steps)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    assert (version_of(connection), tables, connection.in_transaction) == (1, ["a"], False)
    connection.close()


async def test_a_newer_store_is_refused_and_left_as_it_is(path, open_store, examples):
    """A file with tables of tomorrow is not written; history goes on in memory, and the notice says what to do."""
    connection = connect(path, busy_timeout_s=0.1)
    connection.execute(f"PRAGMA user_version = {LATEST + 5}")
    connection.close()
    before = path.read_bytes()
    store = open_store()
    await store.record_decision(examples.keep, 1.0)
    (notice,) = store.notices
    assert f"schema {LATEST + 5}; this one knows up to {LATEST}" in notice
    assert "install the newer version again or move the file away" in notice
    assert [record.decision for record in await store.decisions()] == [examples.keep]
    assert path.read_bytes() == before


async def test_a_foreign_table_in_the_way_is_a_fault_not_a_crash(path, open_store, examples):
    """A database of something else under the store's name is neither overwritten nor set aside."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE hosts (mine)")
    connection.close()
    store = open_store()
    await store.record_decision(examples.keep, 1.0)
    assert "table hosts already exists" in store.degraded
    assert [record.decision for record in await store.decisions()] == [examples.keep]
