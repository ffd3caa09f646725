"""Processes are told apart from later ones with the same id, and a session is ended whole."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from reconfigure_daemon.actuation.processes import HostProcess, start


@pytest.fixture
def session(tmp_path):
    """A shell that leads a session with a child in it."""
    process = start(["/bin/sh", "-c", "sleep 60 & wait"], os.environ, tmp_path / "log")
    wait_for(lambda: len(process.pids()) == 2)
    yield process
    process.signal(signal.SIGKILL)


def wait_for(condition):
    limit_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.002)


def test_a_dead_leaders_session_is_still_ended(session):
    """What a killed host left behind is found and takes the signal."""
    os.kill(session.pid, signal.SIGKILL)
    wait_for(lambda: not session.alive)
    assert len(session.pids()) == 1
    session.signal(signal.SIGTERM)
    wait_for(lambda: session.pids() == [])


def test_the_exit_code_is_the_childs_own(session, tmp_path):
    """A signal is negative; a process that still runs, or is nobody's child here, has none."""
    assert session.exit_code() is None
    session.signal(signal.SIGKILL)
    wait_for(lambda: not session.alive)
    assert session.exit_code() == -signal.SIGKILL
    assert session.exit_code() is None


def test_another_process_with_its_id_is_left_alone(session):
    """A process that started at another time is not ours: neither alive nor signalled."""
    stranger = HostProcess(session.pid, session.start_ticks - 1)
    assert not stranger.alive
    stranger.signal(signal.SIGKILL)
    assert session.alive


def test_what_started_before_a_leader_that_is_gone_is_not_of_its_session(session):
    """A stale note may name an id that another session has had since, whose leader is gone as well."""
    os.kill(session.pid, signal.SIGKILL)
    wait_for(lambda: not session.alive)
    session.exit_code()
    assert len(session.pids()) == 1
    assert HostProcess(session.pid, session.start_ticks + 1000).pids() == []


def test_both_outputs_are_appended_to_the_log(tmp_path):
    """Nothing that a host says is lost, and what was there stays."""
    log = tmp_path / "log"
    log.write_text("before\n")
    process = start(["/bin/sh", "-c", "echo out; echo err >&2"], os.environ, log)
    wait_for(lambda: not process.alive)
    assert process.exit_code() == 0
    assert log.read_text() == "before\nout\nerr\n"


def test_a_pid_file_names_the_process_again(session, tmp_path):
    """What was written reads back; a file that is missing or damaged names nobody."""
    session.write(tmp_path / "pid")
    assert HostProcess.read(tmp_path / "pid") == session
    assert HostProcess.read(tmp_path / "none") is None
    for damaged in ("", "12", "[]", '{"pid": null}', '{"pid": 1'):
        (tmp_path / "pid").write_text(damaged)
        assert HostProcess.read(tmp_path / "pid") is None


def test_a_pid_file_from_before_the_machine_was_started_names_nobody(session, tmp_path):
    """Ids and ticks begin anew with each boot; a note of a daemon that wrote no boot is believed."""
    session.write(tmp_path / "pid")
    note = json.loads((tmp_path / "pid").read_text())
    (tmp_path / "pid").write_text(json.dumps({**note, "boot_id": "another"}))
    assert HostProcess.read(tmp_path / "pid") is None
    del note["boot_id"]
    (tmp_path / "pid").write_text(json.dumps(note))
    assert HostProcess.read(tmp_path / "pid") == session
