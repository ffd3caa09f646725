"""OpenMP's threads where a model runs on the CPU: how many there are, on which processors, and how long they spin.

Two cores share the processors during a switch. Threads that spin long at a barrier take them from the other core: with
OpenMP's default a pre-copy round took four times as long. Threads that hardly spin, and may run anywhere, now and then
all end up on one processor, and the engine is three times slower until it is started again. So each thread has a
processor of its own. vLLM's own choice (`VLLM_CPU_OMP_THREADS_BIND=auto`) also binds them, but leaves one out for
its front end, and reaches no process that is forked: OpenMP reads its environment once, when it is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path

SPINS = "2000"
CHOICE, AFFINITY, THREADS = "VLLM_CPU_OMP_THREADS_BIND", "GOMP_CPU_AFFINITY", "OMP_NUM_THREADS"

#: vLLM leaves OpenMP alone: the environment that a core's process begins with has been set by this module.
OURS = "nobind"

_TOPOLOGY = Path("/sys/devices/system/cpu")


def set_defaults() -> None:
    """Put the settings into this process's environment, for its children; what the environment says already stays."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if CHOICE not in os.environ:
        os.environ[CHOICE] = OURS
        own = processors()
        os.environ[AFFINITY] = " ".join(map(str, own))
        os.environ[THREADS] = str(len(own))


def processors() -> list[int]:
    """One of each physical core that this process may use."""
    allowed = os.sched_getaffinity(0)
    return sorted({min(_siblings(processor) & allowed) for processor in allowed})


def settle_core() -> None:
    """In a core's process: run anywhere again, where loading OpenMP has bound it, and let its workers obey."""
    if bound := _bound():
        os.sched_setaffinity(0, bound)
    os.register_at_fork(after_in_child=_settle_worker)


def _settle_worker() -> None:
    """Its first thread is OpenMP's first: on our first processor, or on those that vLLM has chosen for the worker."""
    bound = _bound()
    if bound:
        os.sched_setaffinity(0, bound[:1] if os.environ.get(CHOICE) == OURS else bound)
    if threads := os.environ.get(THREADS):
        import torch

        torch.set_num_threads(int(threads))


def _bound() -> list[int]:
    return [int(word) for word in os.environ.get(AFFINITY, "").split()]


def _siblings(processor: int) -> set[int]:
    """Logical processors of the same core; itself only, where the kernel does not tell."""
    try:
        told = (_TOPOLOGY / f"cpu{processor}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return {processor}
    found = {processor}
    for part in told.strip().split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
