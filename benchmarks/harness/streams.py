"""Streams of equal length for a benchmark, and where in time each of them stood still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from reconfigure_daemon.load_generation.open_loop import replay_trace
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import ReplayRun, RequestResult, RequestStatus
from reconfigure_daemon.load_generation.target import Target

#: A stream that was still running when its benchmark had seen enough ended well, too.
ENDED_WELL = (RequestStatus.COMPLETED, RequestStatus.UNFINISHED)


def equal_requests(count: int, prompt_tokens: int, output_tokens: int, spacing_s: float = 0.0) -> list[PlannedRequest]:
    """Requests of one length, all at once or evenly spaced."""
    return [PlannedRequest(index, index * spacing_s, prompt_tokens, output_tokens) for index in range(count)]


@dataclass(slots=True)
class RunningStreams:
    """Streams under way.

    Attributes:
        origin_s: the monotonic time from which their results count.
        stop: set it to close those that still run.
        run: what became of them, after the context.
    """

    origin_s: float
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    run: ReplayRun | None = None

    @property
    def results(self) -> list[RequestResult]:
        """One for each stream, after the context."""
        assert self.run is not None, "streams have results once they have ended"
        return self.run.results


@asynccontextmanager
async def running_streams(
    requests: list[PlannedRequest], target: Target, *, to_the_end: bool = False
) -> AsyncIterator[RunningStreams]:
    """Send requests and let the block run beside them; at its end they are closed, or waited for."""
    streams = RunningStreams(time.monotonic())
    replay = asyncio.create_task(replay_trace(requests, target, stop=streams.stop))
    try:
        yield streams
    except BaseException:
        to_the_end = False
        raise
    finally:
        if not to_the_end:
            streams.stop.set()
        streams.run = await replay


def output_times_s(result: RequestResult) -> list[float]:
    """When each output came, since the start of the replay."""
    if result.first_output_s is None:
        return []
    return list(accumulate(result.gaps_s, initial=result.first_output_s))


def longest_gap_within_s(result: RequestResult, from_s: float, to_s: float) -> float | None:
    """The longest time without output among those that touch a span; None for a stream that had ended or not begun.

    Args:
        result: of a stream.
        from_s: the span's begin, since the start of the replay.
        to_s: its end.
    """
    gaps = [after - before for before, after in pairwise(output_times_s(result)) if before < to_s and after > from_s]
    return max(gaps, default=None)


def failures(results: list[RequestResult]) -> list[str]:
    """What became of each stream that ended badly, in words."""
    bad = [result for result in results if result.status not in ENDED_WELL]
    return [f"request {result.request.index} {result.status}: {result.detail}" for result in bad]
