"""OpenMP's threads where a model runs on the CPU: how long they spin, and how many there are on which processors."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: What an engine host runs with unless its environment says otherwise. During a switch two cores share the processors:
#: threads that spin at a barrier take them from the other core (with OpenMP's default a pre-copy round took four times
#: as long), and threads bound to the same processors wait for each other while others idle. vLLM's own default, `auto`,
#: leaves one processor to its front end as well. Without GNU OpenMP, or on a GPU, neither means anything.
DEFAULTS: Mapping[str, str] = {"GOMP_SPINCOUNT": "2000", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def set_defaults() -> None:
    """Put the defaults into this process's environment, for its children."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def obey_in_forked_workers() -> None:
    """Let what this process forks obey what vLLM writes into the environment for a worker.

    OpenMP reads its environment once, when it is loaded, and a fork has loaded it before vLLM decides.
    """
    os.register_at_fork(after_in_child=_obey_environment)


def _obey_environment() -> None:
    threads, processors = os.environ.get("OMP_NUM_THREADS"), os.environ.get("GOMP_CPU_AFFINITY")
    if processors:
        os.sched_setaffinity(0, map(int, processors.split()))
    if threads:
        import torch

        torch.set_num_threads(int(threads))
