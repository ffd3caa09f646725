"""Requests that arrive steadily for as long as something else takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.harness.daemon import Daemon
from benchmarks.harness.streams import equal_requests, failures, running_streams
from reconfigure_daemon.load_generation.results import RequestResult, RequestStatus

#: Short enough for a CPU, long enough to be live when something happens.
PROMPT_TOKENS, OUTPUT_TOKENS = 48, 48


@dataclass(slots=True)
class Arrivals:
    """What became of the requests, once the block has ended; those that still ran then were closed."""

    completed: int = 0
    bad: list[str] = field(default_factory=list)
    by_status: Counter[str] = field(default_factory=Counter)

    def take(self, results: list[RequestResult]) -> None:
        """Count the results."""
        self.by_status = Counter(result.status.value for result in results)
        self.completed = self.by_status[RequestStatus.COMPLETED.value]
        self.bad = failures(results)


@asynccontextmanager
async def arriving(
    daemon: Daemon, at_most_s: float, spacing_s: float = 0.5, output_tokens: int = OUTPUT_TOKENS, seed: int = 0
) -> AsyncIterator[Arrivals]:
    """Let requests arrive while the block runs.

    Args:
        daemon: whose engine they go to.
        at_most_s: longer than the block takes.
        spacing_s: from one to the next.
        output_tokens: of each.
        seed: of the prompts.
    """
    requests = equal_requests(round(at_most_s / spacing_s), PROMPT_TOKENS, output_tokens, spacing_s)
    arrivals = Arrivals()
    async with running_streams(requests, await daemon.target(seed=seed)) as streams:
        yield arrivals
    arrivals.take(streams.results)
