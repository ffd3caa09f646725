"""When a full engine is in its steady state, and which windows of it are whole.

The requests of a flood begin together. It takes a while until every place is taken: six to eight seconds for 128 places
with prompts of 512 tokens, on an H200 under a model of 24B. And requests that begin together end together, whose
successors' prompts then come together: throughput swings, with a period in which as many requests end as run at once, a
*round*. A window that begins before the first requests have all ended measures an engine that fills up; one that holds
half a round measures which half it met. docs/decisions/0015 has what that did to trials.
"""

from __future__ import annotations

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.ports import EngineHost, LoadTally, TelemetryBatch
from reconfigure_policies.domain.workload import IterationTotals

#: How often a flood is looked at while it has to reach its steady state.
_LOOK_S = 0.1

#: After the last of all records: an answer without any.
NO_RECORDS = 2**62


async def steady(
    host: EngineHost, before: IterationTotals, begun: int, tally: LoadTally, within_s: float, clock: Clock
) -> TelemetryBatch:
    """What an engine says once a flood's first requests have all ended, is refused, or has had its time.

    Args:
        host: of the engine.
        before: its totals just before the flood.
        begun: requests that it began with.
        tally: of the flood.
        within_s: after so long the engine is taken as it is.
        clock: time.
    """
    latest_s = clock.monotonic() + within_s
    while True:
        batch = await host.telemetry(NO_RECORDS)
        if is_steady(before, batch.totals, begun) or tally.unserved or clock.monotonic() >= latest_s:
            return batch
        await clock.sleep(_LOOK_S)


def is_steady(before: IterationTotals, now: IterationTotals, begun: int) -> bool:
    """Whether as many requests have ended as a flood began with; from then on all are whole ones."""
    return now.finished - before.finished >= begun


def whole_rounds(start: IterationTotals, now: IterationTotals) -> int:
    """Rounds that have ended since the start of a window; as many requests as ran then make one."""
    return (now.finished - start.finished) // max(1, start.running)
