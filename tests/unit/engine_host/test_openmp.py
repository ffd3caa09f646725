"""OpenMP's threads in what a core forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from reconfigure_daemon.engine_host import openmp

SETTLED = """
import json, os, torch
from reconfigure_daemon.engine_host import openmp
openmp.settle_core()
core = sorted(os.sched_getaffinity(0))
os.environ.update(json.loads(os.environ["CHOSEN"]))
read, write = os.pipe()
if (child := os.fork()) == 0:
    print(json.dumps([core, torch.get_num_threads(), sorted(os.sched_getaffinity(0))]), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def settled(environ: dict[str, str], chosen: dict[str, str] | None = None):
    """`(processors of the core, threads of its worker, processors of the worker's first thread)`."""
    pytest.importorskip("torch", reason="the threads are torch's; make setup brings it")
    kept = {name: value for name, value in os.environ.items() if name not in (openmp.AFFINITY, openmp.THREADS)}
    told = subprocess.run(
        [sys.executable, "-c", SETTLED], env={**kept, **environ, "CHOSEN": json.dumps(chosen or {})},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(told.stdout)


def test_by_default_the_core_runs_anywhere_and_each_thread_has_a_processor(monkeypatch):
    """The worker's first thread is on the first one; OpenMP puts the others, as it was loaded with the list."""
    for name in ("GOMP_SPINCOUNT", openmp.CHOICE, openmp.AFFINITY, openmp.THREADS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    openmp.set_defaults()
    ours = {name: os.environ[name] for name in ("GOMP_SPINCOUNT", openmp.CHOICE, openmp.AFFINITY, openmp.THREADS)}
    every = openmp.processors()
    assert settled(ours) == [every, len(every), every[:1]]


def test_a_forked_worker_has_the_threads_and_processors_that_vllm_chose_for_it():
    """Although OpenMP had been loaded, with other settings, before vLLM chose."""
    first = openmp.processors()[0]
    chosen = {openmp.THREADS: "1", openmp.AFFINITY: str(first)}
    _, threads, bound = settled({openmp.CHOICE: "auto"}, chosen)
    assert (threads, bound) == (1, [first])


def test_what_the_environment_says_of_openmp_stays(monkeypatch):
    """The defaults are for who has said nothing."""
    monkeypatch.setenv(openmp.CHOICE, "0-1")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.delenv(openmp.AFFINITY, raising=False)
    openmp.set_defaults()
    assert (os.environ[openmp.CHOICE], os.environ["GOMP_SPINCOUNT"]) == ("0-1", "7")
    assert openmp.AFFINITY not in os.environ


def test_siblings_of_one_core_count_once(monkeypatch, tmp_path):
    """Two threads of one core would wait for each other."""
    for processor, told in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / f"cpu{processor}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(told + "\n")
    monkeypatch.setattr(openmp, "_TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert openmp.processors() == [0, 1]
