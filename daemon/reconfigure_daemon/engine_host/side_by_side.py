"""Two cores on the same processors: on a CPU each steps less often, on a GPU none is held back.

Where a model runs on the CPU, both cores' threads want every processor, and each of the many barriers within a
step waits for a thread that the other core has displaced: together they are several times slower than in turn. So the
old core is paced while the new one gets ready, and both are from the first copy on. A stream then gets a token per
interval, which is what two cores side by side can give it, and what is prefilled fits into the gaps, where it has the
processors for itself.

A GPU takes turns by itself, step against step, so that every step takes up to twice as long as the pace was chosen
for; and nobody governs while a switch runs. So the old core keeps half of its pace while the new one boots, which is
most of a switch: a token then comes in half the time that it may take, unless steps cannot be any quicker. From the
first copy on neither core is paced. The pace holds again when the switch is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from reconfigure_daemon.engine_host.cores import Core
from reconfigure_policies.domain.pacing import beside_a_boot_s

#: Room for a step of each core and some prefill, and well below the longest pause that a switch should cost a stream.
PACE_S = 0.15

_ANSWER_TIMEOUT_S = 5.0


def share_processors(core: Core) -> bool:
    """Whether a second core would compute on the same processors as this one, thread against thread."""
    return bool(core.config.device_config.device_type == "cpu")


@contextlib.asynccontextmanager
async def taking_turns(core: Core) -> AsyncIterator[None]:
    """Inside, a core on the CPU decodes at most once in an interval; afterwards as before."""
    async with _paced(core, (lambda own_s: max(own_s, PACE_S)) if share_processors(core) else None):
        yield


@contextlib.asynccontextmanager
async def at_half_pace(core: Core) -> AsyncIterator[None]:
    """Inside, a core on a GPU waits half as long between steps; afterwards as before."""
    async with _paced(core, None if share_processors(core) else beside_a_boot_s):
        yield


@contextlib.asynccontextmanager
async def unpaced(core: Core) -> AsyncIterator[None]:
    """Inside, a core on a GPU decodes as fast as it can; afterwards as before."""
    async with _paced(core, None if share_processors(core) else (lambda _: 0.0)):
        yield


@contextlib.asynccontextmanager
async def _paced(core: Core, meanwhile: Callable[[float], float] | None) -> AsyncIterator[None]:
    """Inside, the pacing interval is another one, as a function of the core's own; None to leave it alone."""
    if meanwhile is None:
        yield
        return
    before_s: float | None = None
    with contextlib.suppress(Exception):  # a core that is dying needs no pace; its death is dealt with elsewhere
        state = await asyncio.wait_for(core.utility("reconfigure_read"), _ANSWER_TIMEOUT_S)
        before_s = float(state["enforced"]["pacing_interval_s"])
        await asyncio.wait_for(_pace(core, meanwhile(before_s)), _ANSWER_TIMEOUT_S)
    try:
        yield
    finally:
        if before_s is not None:
            with contextlib.suppress(Exception):  # likewise
                await asyncio.wait_for(_pace(core, before_s), _ANSWER_TIMEOUT_S)


async def _pace(core: Core, interval_s: float) -> None:
    await core.utility("reconfigure_set_knobs", {"pacing_interval_s": interval_s})
