"""OpenMP's threads in what a core forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from reconfigure_daemon.engine_host import openmp

pytest.importorskip("torch", reason="threads are torch's; set up an engine for it (make setup)")

FORKED_AFTER_VLLM_DECIDED = """
import json, os, torch
from reconfigure_daemon.engine_host import openmp
openmp.obey_in_forked_workers()
os.environ["OMP_NUM_THREADS"], os.environ["GOMP_CPU_AFFINITY"] = "1", str(min(os.sched_getaffinity(0)))
if (child := os.fork()) == 0:
    print(json.dumps([torch.get_num_threads(), sorted(os.sched_getaffinity(0))]), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_worker_has_the_threads_and_processors_that_vllm_chose_for_it():
    """Although OpenMP had been loaded, with other settings, before vLLM chose."""
    environ = {
        name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "GOMP_CPU_AFFINITY")
    }
    told = subprocess.run(
        [sys.executable, "-c", FORKED_AFTER_VLLM_DECIDED], env=environ, capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) == [1, [min(os.sched_getaffinity(0))]]


def test_what_the_environment_says_of_openmp_stays(monkeypatch):
    """The defaults are for who has said nothing."""
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-1")
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    openmp.set_defaults()
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "0-1"
    assert os.environ["GOMP_SPINCOUNT"] == openmp.DEFAULTS["GOMP_SPINCOUNT"]
