"""Load under which an engine is measured."""

import asyncio
from itertools import islice

from aiohttp import web

from reconfigure_daemon.load_generation.load_source import arrivals, under_way, whole
from reconfigure_daemon.load_generation.offered_load import offered_load
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.target import Target


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the server lives in another thread
            await asyncio.sleep(0.005)


async def test_a_closed_loop_keeps_its_number_of_requests_in_the_server(server):
    """With three at once, a fourth comes only when one of them has been answered."""
    held = [asyncio.Event() for _ in range(3)]
    loop = asyncio.get_running_loop()

    def holding(event):
        async def answer(exchange):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(event.wait(), loop))
            await exchange.answer_well()

        return answer

    server.answers += [holding(event) for event in held]
    async with offered_load(whole([(8, 4)], 0), Target(server.url, "small"), concurrency=3) as tally:
        await until(lambda: len(server.bodies) == 3)
        assert (tally.sent, tally.completed) == (3, 0)
        held[1].set()
        await until(lambda: tally.completed >= 1)
        assert tally.sent >= 4
        for event in held:
            event.set()


async def test_an_open_loop_sends_what_is_due_and_asks_for_exact_lengths(server):
    """Requests of a distant moment are not sent, and nothing is streamed."""
    requests = [PlannedRequest(0, 0.0, 8, 4), PlannedRequest(1, 0.0, 9, 5), PlannedRequest(2, 1e6, 8, 4)]
    async with offered_load(requests, Target(server.url, "small")) as tally:
        await until(lambda: tally.completed == 2)
    assert tally.sent == 2
    assert [len(body["prompt"]) for body in server.bodies] == [8, 9]
    assert [(body["min_tokens"], body["max_tokens"]) for body in server.bodies] == [(4, 4), (5, 5)]
    assert not any("stream" in body for body in server.bodies)


async def test_a_refused_request_is_counted_in_the_servers_words(server):
    """A trial whose requests fail must not pass for a slow one."""

    async def refuse(exchange):
        raise web.HTTPBadRequest(text="prompt too long")

    server.answers.append(refuse)
    async with offered_load([PlannedRequest(0, 0.0, 8, 4)], Target(server.url, "small")) as tally:
        await until(lambda: tally.failed == 1)
    assert "prompt too long" in tally.fault


async def test_what_still_runs_is_aborted_at_the_end(server):
    """The server sees its connections closed, so that no load is left behind."""
    aborted = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def never(exchange):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(aborted.set)
            raise

    server.answers.append(never)
    async with offered_load([PlannedRequest(0, 0.0, 8, 4)], Target(server.url, "small")):
        await until(lambda: len(server.bodies) == 1)
    await asyncio.wait_for(aborted.wait(), 10)


def test_a_load_begins_with_ends_spread_evenly():
    """Four requests of 64 tokens that were under way have 16, 32, 48 and 64 tokens to go."""
    assert [request.output_tokens for request in under_way([(128, 64)], 4)] == [16, 32, 48, 64]


def test_whole_requests_take_lengths_in_turn_and_never_share_an_index():
    """So that no prompt is sent twice, and no prefix cache flatters."""
    requests = list(islice(whole([(8, 4), (9, 5)], 100), 3))
    assert [request.index for request in requests] == [100, 101, 102]
    assert [request.prompt_tokens for request in requests] == [8, 9, 8]


def test_arrivals_are_irregular_and_as_many_as_asked_for():
    """One in each tenth of a second, not in its middle; another seed has other moments."""
    due_s = [request.due_s for request in islice(arrivals([(8, 4)], 10.0, 0, seed=1), 50)]
    assert [int(10 * at_s) for at_s in due_s] == list(range(50))
    assert len({round(10 * at_s % 1, 3) for at_s in due_s}) > 40
    assert due_s != [request.due_s for request in islice(arrivals([(8, 4)], 10.0, 0, seed=2), 50)]
