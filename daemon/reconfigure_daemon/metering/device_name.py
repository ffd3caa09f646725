"""What a machine computes on, in words: trials of one device say nothing of another."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reconfigure_daemon.metering.nvml import GpuFacts

CPUINFO = Path("/proc/cpuinfo")


def device_name(gpus: Sequence[GpuFacts], cpuinfo: Path = CPUINFO) -> str:
    """Count and name of the GPUs, e.g. `2 x NVIDIA H200`; without any, cores and name of the processor."""
    if gpus:
        counts = Counter(gpu.name or "unnamed GPU" for gpu in gpus)
        return ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()))
    return f"{os.cpu_count()} cores of {_processor(cpuinfo)}"


def _processor(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
