"""Whether a second core fits beside the first: decides between an overlapped and a sequential switch."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.gpu_room import GpuUse, Ranks, Room, TooFewGpus, check_count, room_on_gpus
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.parallelism import PARALLELISM

CPU_MARGIN_BYTES = 2**30


async def room_beside(core: Core, target: Mapping[str, KnobValue]) -> Room:
    """Room for a core of another configuration: on its GPUs, or on a machine without any in main memory.

    Raises:
        TooFewGpus: if it has more ranks than there are GPUs.
    """
    replicas = await core.utility_of_each("reconfigure_memory")
    uses = [GpuUse(**worker) for workers in replicas for worker in workers if worker]
    sizes = {name: getattr(core.config.parallel_config, name) for name in PARALLELISM}
    running, ranks = Ranks.of(sizes), Ranks.of({**sizes, **target})
    if not uses:
        return _main_memory(core, running, ranks)
    check_count(uses, ranks)
    cache = core.config.cache_config
    utilisation = float(target.get("gpu_memory_utilization", cache.gpu_memory_utilization))
    fixed = "kv_cache_memory_bytes" in target or bool(getattr(cache, "kv_cache_memory_bytes", None))
    return room_on_gpus(uses, running, ranks, utilisation, fixed)


def _main_memory(core: Core, running: Ranks, ranks: Ranks) -> Room:
    held = sum(_resident(pid) for pid in core.pids) // running.replicas * ranks.replicas
    return Room(psutil.virtual_memory().available, held + CPU_MARGIN_BYTES)


def _resident(pid: int) -> int:
    """Bytes of a process and its workers, which hold the model; 0 for one that is gone."""
    try:
        root = psutil.Process(pid)
        return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


__all__ = ["Room", "TooFewGpus", "room_beside"]
