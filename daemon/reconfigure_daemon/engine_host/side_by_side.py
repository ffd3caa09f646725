"""Two cores on the same processors: each steps less often, so that neither stands in the other's way.

Where a model runs on the CPU, both cores' threads want every processor, and each of the many barriers within a
step waits for a thread that the other core has displaced: together they are several times slower than in turn. So the
old core is paced while the new one gets ready, and both are while streams move. A stream then gets a token per
interval, which is what two cores side by side can give it, and what is prefilled fits into the gaps, where it has the
processors for itself. On a GPU the device takes turns by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from reconfigure_daemon.engine_host.cores import Core

#: Room for a step of each core and some prefill, and well below the longest pause that a switch should cost a stream.
PACE_S = 0.15

_ANSWER_TIMEOUT_S = 5.0


def share_processors(core: Core) -> bool:
    """Whether a second core would compute on the same processors as this one, thread against thread."""
    return bool(core.config.device_config.device_type == "cpu")


@contextlib.asynccontextmanager
async def taking_turns(core: Core) -> AsyncIterator[None]:
    """Inside, a core on the CPU decodes at most once in an interval; afterwards as before."""
    if not share_processors(core):
        yield
        return
    before_s: float | None = None
    with contextlib.suppress(Exception):  # a core that is dying needs no pace; its death is dealt with elsewhere
        state = await asyncio.wait_for(core.utility("reconfigure_read"), _ANSWER_TIMEOUT_S)
        before_s = float(state["enforced"]["pacing_interval_s"])
        await asyncio.wait_for(_pace(core, max(before_s, PACE_S)), _ANSWER_TIMEOUT_S)
    try:
        yield
    finally:
        if before_s is not None:
            with contextlib.suppress(Exception):  # likewise
                await asyncio.wait_for(_pace(core, before_s), _ANSWER_TIMEOUT_S)


async def _pace(core: Core, interval_s: float) -> None:
    await core.utility("reconfigure_set_knobs", {"pacing_interval_s": interval_s})
