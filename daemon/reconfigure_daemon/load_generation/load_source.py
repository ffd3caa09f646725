"""The load of trials, for whoever measures an engine: requests of given lengths to its own OpenAI server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain, count

from reconfigure_daemon.load_generation.offered_load import LoadTally, offered_load
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.target import Target, ask_served_model
from reconfigure_daemon.ports import HostState

Lengths = Sequence[tuple[int, int]]


class HttpLoad:
    """A `LoadSource`.

    Args:
        api_key: what the engine wants, "" for nothing; asked anew for each load.
    """

    def __init__(self, api_key: Callable[[], str]) -> None:
        self._api_key = api_key

    @asynccontextmanager
    async def offered(
        self, host: HostState, lengths: Lengths, rate_rps: float | None, concurrency: int, seed: int
    ) -> AsyncIterator[LoadTally]:
        """See `LoadSource.offered`."""
        key = self._api_key()
        served = await ask_served_model(host.openai_url, api_key=key)
        target = Target(host.openai_url, served.name, seed=seed, api_key=key)
        begun = under_way(lengths, concurrency)
        if rate_rps is None:
            flood = chain(begun, whole(lengths, concurrency))
            load = offered_load(flood, target, concurrency=concurrency)
        else:
            load = offered_load(chain(begun, arrivals(lengths, rate_rps, concurrency, seed)), target)
        async with load as tally:
            yield tally


def under_way(lengths: Lengths, running: int) -> list[PlannedRequest]:
    """Requests to start with at once, as if they had been arriving all along: their ends are spread evenly."""
    requests = []
    for index in range(running):
        prompt, output = lengths[index % len(lengths)]
        requests.append(PlannedRequest(index, 0.0, prompt, max(1, round(output * (index + 1) / running))))
    return requests


def whole(lengths: Lengths, first_index: int) -> Iterator[PlannedRequest]:
    """Requests without end."""
    for index in count(first_index):
        prompt, output = lengths[index % len(lengths)]
        yield PlannedRequest(index, 0.0, prompt, output)


def arrivals(lengths: Lengths, rate_rps: float, first_index: int, seed: int) -> Iterator[PlannedRequest]:
    """One arrival in each interval of 1/rate, at a random moment of it, without end.

    Arrivals of a Poisson process vary in number by their own square root, which in a window of seconds would drown what
    two configurations differ by. These are as irregular from one to the next, and never more or fewer than asked for.
    """
    draws = random.Random(seed)  # noqa: S311 - arrivals that can be drawn again, not a secret
    for number, request in enumerate(whole(lengths, first_index)):
        due_s = (number + draws.random()) / rate_rps
        yield PlannedRequest(request.index, due_s, request.prompt_tokens, request.output_tokens)
