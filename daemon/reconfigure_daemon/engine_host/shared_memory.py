"""What a core's processes share with each other, and what outlives them if they are killed.

Those are vLLM's message rings and, on a CPU, what its workers add up in. A ring may take a quarter of a gigabyte, and
the system keeps it until somebody removes it or the machine restarts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import psutil

_PLACE = "/dev/shm/"  # noqa: S108  # where Linux shows shared memory, no place for files of ours
_PREFIXES = ("psm_", "vllm_dist_")  # Python's, and vLLM's own


def held_by(pids: Iterable[int]) -> frozenset[str]:
    """Names of the shared memory of these processes and what they started, without what this one uses as well."""
    found: set[str] = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                found |= _mapped(process.pid)
    return frozenset(found - _mapped(os.getpid()))


def remove(names: Collection[str]) -> None:
    """Give back what is still there; harmless for what is gone."""
    for name in names:
        with suppress(FileNotFoundError):
            memory = SharedMemory(name)
            memory.close()
            memory.unlink()


def _mapped(pid: int) -> set[str]:
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:  # it has ended, or is somebody else's
        return set()
    names = (line.partition(_PLACE)[2] for line in lines)
    return {name for name in names if name.startswith(_PREFIXES)}
