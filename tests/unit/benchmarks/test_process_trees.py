"""Servers that stand still while another is measured."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.harness.process_trees import ProcessTrees, children

# A parent that only waits for a child that never rests, and says when it has begun.
BUSY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True)\\nwhile True: pass'])"


@pytest.fixture
def busy():
    before = children()
    parent = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "1\n"
    trees = ProcessTrees.since(before)
    yield trees
    for process in [*psutil.Process(parent.pid).children(recursive=True), psutil.Process(parent.pid)]:
        process.kill()
    parent.communicate()


def used_s(trees, span_s=0.3):
    before_s = trees.cpu_s()
    time.sleep(span_s)
    return trees.cpu_s() - before_s


def test_what_a_child_starts_is_held_and_goes_on_with_it(busy):
    """It uses no processor while it is stopped, though its parent had nothing to do anyway."""
    assert used_s(busy) > 0
    busy.stop()
    time.sleep(0.1)  # a signal is taken at the next chance
    assert used_s(busy) == 0
    busy.go_on()
    assert used_s(busy) > 0


def test_only_what_was_started_since_belongs_to_it(busy):
    """Another child is another tree."""
    before = children()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert ProcessTrees.since(before).roots == {other.pid}
        assert other.pid not in busy.roots
        other.communicate(b"\n")
