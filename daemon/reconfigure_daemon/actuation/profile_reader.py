"""Reads traces in a process of its own: they may be hundreds of megabytes, and the controller is small and busy."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from reconfigure_daemon.errors import EngineHostFault
from reconfigure_daemon.ports import DeviceProfile

_PROFILES = TypeAdapter(list[DeviceProfile])

#: A trace of a minute of a large model is read in this time.
READ_TIMEOUT_S = 300.0


async def read_profiles(files: Sequence[str]) -> list[DeviceProfile]:
    """Where the time of every device in some traces went.

    Raises:
        EngineHostFault: if a trace cannot be read, or not in time.
    """
    command = [sys.executable, "-m", "reconfigure_daemon.profiling", *files]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            said, fault = await process.communicate()
    except (TimeoutError, asyncio.CancelledError) as interrupted:
        process.kill()
        await process.wait()
        if isinstance(interrupted, asyncio.CancelledError):
            raise
        raise EngineHostFault(
            f"the traces were not read within {READ_TIMEOUT_S:g} s; record for a shorter time (--seconds). They are "
            f"{', '.join(files)}"
        ) from interrupted
    if process.returncode != 0:
        raise EngineHostFault(f"the profile cannot be read: {fault.decode(errors='replace').strip()[-500:]}")
    try:
        return _PROFILES.validate_json(said)
    except ValidationError as wrong:
        raise EngineHostFault(f"the profile cannot be understood: {wrong.errors()[0]['msg']}") from wrong
