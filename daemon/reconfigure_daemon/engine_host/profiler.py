"""Vllm's torch profiler on a running core: started, stopped, and its traces found."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.errors import EngineHostFault, RequestRefused
from reconfigure_daemon.ports import ProfileTraces

#: The utility that both tested versions of EngineCore have; its first argument is whether to start.
PROFILE = "profile"


def trace_folder(config: Any) -> Path:
    """Where a core's workers write their traces.

    Raises:
        RequestRefused: if the core was booted without a profiler.
    """
    given = getattr(config, "profiler_config", None)
    folder = getattr(given, "torch_profiler_dir", "")
    if getattr(given, "profiler", None) != "torch" or not folder:
        raise RequestRefused(
            "the engine was started without a profiler; set engine.profiler to true in config.yaml, and stop and start "
            "the engine host"
        )
    return Path(folder)


async def record(core: Core, folder: Path, seconds: float) -> ProfileTraces:
    """Record every worker of a core for some time; traces of earlier records are removed first.

    Raises:
        EngineHostFault: if nothing was written.
    """
    for old in _traces(folder):
        old.unlink(missing_ok=True)
    await core.utility(PROFILE, True)
    begun_s = time.monotonic()
    try:
        await asyncio.sleep(seconds)
    finally:
        ended_s = time.monotonic()
        await core.utility(PROFILE, False)  # returns once every worker has written its trace
    files = _traces(folder)
    if not files:
        raise EngineHostFault(f"the profiler wrote no trace into {folder}; the engine's log may say why")
    return ProfileTraces(
        files=[str(file) for file in files], seconds=ended_s - begun_s, writing_s=time.monotonic() - ended_s
    )


def _traces(folder: Path) -> list[Path]:
    return sorted(path for pattern in ("*.pt.trace.json", "*.pt.trace.json.gz") for path in folder.glob(pattern))
