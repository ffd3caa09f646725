"""Shared memory of processes that are killed: it is found while they live, and removed when they are gone."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from reconfigure_daemon.engine_host import shared_memory
from reconfigure_daemon.engine_host.cores import kill_tree

#: Its child shares memory and says so; both wait to be killed.
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", '''
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
shared = SharedMemory(create=True, size=4096)
resource_tracker.unregister(shared._name, "shared_memory")
print(shared.name, flush=True)
time.sleep(600)
'''])
"""


@pytest.fixture
def parent():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as process:
        yield process, process.stdout.readline().strip()
        kill_tree(process.pid)


def test_what_a_killed_process_and_its_children_shared_is_removed(parent):
    """A segment is theirs while they have it mapped; afterwards nobody could tell."""
    process, name = parent
    assert shared_memory.held_by([process.pid]) == {name}
    kill_tree(process.pid)
    process.wait()
    assert Path("/dev/shm", name).exists()
    shared_memory.remove([name])
    assert not Path("/dev/shm", name).exists()
    shared_memory.remove([name])  # gone already: harmless


def test_what_this_process_uses_as_well_is_left_to_it(parent):
    """It may serve another core."""
    process, name = parent
    own = SharedMemory(name)
    try:
        assert shared_memory.held_by([process.pid]) == frozenset()
    finally:
        own.close()
        shared_memory.remove([name])


def test_a_process_that_is_gone_holds_nothing(parent):
    """And no error is made of it."""
    process, name = parent
    kill_tree(process.pid)
    process.wait()
    assert shared_memory.held_by([process.pid]) == frozenset()
    shared_memory.remove([name])
