"""Whether a second core fits beside the first: decides between an overlapped and a sequential switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil

from reconfigure_daemon.engine_host.cores import Core

MARGIN_BYTES = 2 * 2**30  # CUDA context, graphs and activations that a core does not report as held
CPU_MARGIN_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Room:
    """Memory for a second core: bytes free and bytes needed on the tightest device."""

    free: int
    needed: int

    @property
    def enough(self) -> bool:
        """Whether it fits."""
        return self.free >= self.needed

    def __str__(self) -> str:
        return f"{self.free / 2**30:.1f} GiB free, {self.needed / 2**30:.1f} GiB needed for a second core"


async def room_beside(core: Core) -> Room:
    """Measure the devices of a running core; on a machine without GPUs, main memory."""
    workers = [w for w in await core.utility("reconfigure_memory") if w]
    if not workers:
        return _main_memory(core)
    return min((Room(w["free"], _gpu_need(w, core.config)) for w in workers), key=lambda room: room.free - room.needed)


def _gpu_need(worker: dict[str, Any], config: Any) -> int:
    """What the running core holds, and vLLM's own check: the configured share of the device must be free."""
    share = float(config.cache_config.gpu_memory_utilization) * worker["total"]
    fixed = getattr(config.cache_config, "kv_cache_memory_bytes", None)
    return int(worker["held"] + MARGIN_BYTES if fixed else max(share, worker["held"] + MARGIN_BYTES))


def _main_memory(core: Core) -> Room:
    held = sum(_resident(pid) for pid in core.pids)
    return Room(psutil.virtual_memory().available, held + CPU_MARGIN_BYTES)


def _resident(pid: int) -> int:
    """Bytes of a process and its workers, which hold the model; 0 for one that is gone."""
    try:
        root = psutil.Process(pid)
        return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0
