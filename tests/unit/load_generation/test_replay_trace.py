"""The open loop against a real server, good and bad."""

import asyncio
import contextlib
import socket
import time

import pytest
from aiohttp import web

from reconfigure_daemon.load_generation.open_loop import ReplayProgress, replay_trace
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import RequestStatus
from reconfigure_daemon.load_generation.target import Target, TargetUnavailable, ask_served_model


def planned(count: int, every_s: float = 0.0, tokens: int = 4) -> list[PlannedRequest]:
    return [PlannedRequest(index, index * every_s, 10 + index, tokens) for index in range(count)]


async def answer_well(exchange):
    await exchange.answer_well()


async def answer_with_error_500(exchange):
    raise web.HTTPInternalServerError(text="no core is alive")


async def answer_with_error_400(exchange):
    raise web.HTTPBadRequest(text='{"error": {"message": "prompt too long"}}')


async def answer_with_error_event(exchange):
    await exchange.begin()
    await exchange.send_tokens(2)
    await exchange.send({"error": {"message": "EngineCore died"}})
    await exchange.send("[DONE]")


async def answer_without_done(exchange):
    await exchange.begin()
    await exchange.send_tokens(exchange.body["max_tokens"], "length")


async def answer_without_finish_reason(exchange):
    await exchange.begin()
    await exchange.send_tokens(exchange.body["max_tokens"])
    await exchange.send("[DONE]")


async def answer_and_hang_up(exchange):
    await exchange.begin()
    await exchange.send_tokens(1)
    exchange.hang_up()


async def hang_up_at_once(exchange):
    exchange.hang_up()


async def answer_too_little(exchange):
    await exchange.begin()
    await exchange.send_tokens(exchange.body["max_tokens"] - 1, "abort")
    await exchange.send_usage(exchange.body["max_tokens"] - 1)
    await exchange.send("[DONE]")


async def never_answer(exchange):
    await exchange.begin()
    await exchange.send_tokens(1)
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (answer_well, RequestStatus.COMPLETED, ""),
        (answer_with_error_500, RequestStatus.LOST, "HTTP 500: no core is alive"),
        (hang_up_at_once, RequestStatus.LOST, "ServerDisconnectedError"),
        (answer_with_error_400, RequestStatus.REFUSED, 'HTTP 400: {"error": {"message": "prompt too long"}}'),
        (answer_with_error_event, RequestStatus.BROKEN, "after 2 of 4 tokens: EngineCore died"),
        (answer_without_done, RequestStatus.BROKEN, "ended after 4 of 4 tokens without [DONE]"),
        (answer_without_finish_reason, RequestStatus.BROKEN, "ended after 4 of 4 tokens without a finish reason"),
        (answer_and_hang_up, RequestStatus.BROKEN, "ClientPayloadError"),
        (answer_too_little, RequestStatus.TRUNCATED, "finished (abort) after 3 of 4 tokens"),
        (never_answer, RequestStatus.TIMED_OUT, "no end within 0.2 s"),
    ],
)
async def test_each_end_is_told_apart(server, answer, status: RequestStatus, detail: str):
    """Every way in which an answer can end has its own status and says what happened; others are not drawn in."""
    server.answers = [answer]
    timeout_s = 0.2 if status is RequestStatus.TIMED_OUT else 60.0
    run = await replay_trace(planned(1), Target(server.url, "small", timeout_s=timeout_s))
    again = await replay_trace(planned(2), Target(server.url, "small"))
    assert run.results[0].status is status
    assert run.results[0].detail.startswith(detail)
    assert run.clean == (status is RequestStatus.COMPLETED)
    assert again.clean


async def test_a_refused_connection_is_a_lost_request():
    """With nobody listening, each request is lost and the replay still ends."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        run = await replay_trace(planned(3), Target(f"http://127.0.0.1:{bound.getsockname()[1]}", "small"))
    assert run.count(RequestStatus.LOST) == 3
    assert "ClientConnectorError" in run.results[0].detail


async def test_requests_say_exactly_what_is_wanted(server):
    """A request names its model, an exact prompt as token ids, a forced length and greedy sampling, with the key."""
    await replay_trace(planned(2), Target(server.url, "small", vocab_size=5000, seed=3, api_key="secret"))
    first, second = sorted(server.bodies, key=lambda body: len(body["prompt"]))
    assert (len(first.pop("prompt")), len(second["prompt"])) == (10, 11)
    assert first == {
        "model": "small",
        "max_tokens": 4,
        "min_tokens": 4,
        "ignore_eos": True,
        "temperature": 0.0,
        "seed": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert max(second["prompt"]) < 5000
    assert server.headers[0]["Authorization"] == "Bearer secret"


async def test_arrivals_do_not_wait_for_answers(server):
    """While the first answer is held back, the later requests are sent on time: the loop is open."""
    others_arrived = asyncio.Event()

    async def answer_last(exchange):
        await others_arrived.wait()
        await exchange.answer_well()

    async def answer_and_release(exchange):
        others_arrived.set()
        await exchange.answer_well()

    server.answers = [answer_last, answer_well, answer_well, answer_well, answer_and_release]
    run = await replay_trace(planned(5, every_s=0.01), Target(server.url, "small"))
    assert run.clean
    assert run.results[0].ended_s > run.results[4].sent_s


async def test_requests_leave_when_they_are_due(server):
    """No request leaves before it is due, and a replay takes at least until the last is."""
    run = await replay_trace(planned(5, every_s=0.02), Target(server.url, "small"))
    assert all(result.sent_s >= result.request.due_s for result in run.results)
    assert run.duration_s >= 0.08


async def test_latency_counts_from_when_a_request_was_due(server):
    """A generator that was stopped for a while counts its requests as late and does not hide their wait."""
    stalls = iter([0.15])

    def stall_once(progress: ReplayProgress) -> None:
        time.sleep(next(stalls, 0))

    run = await replay_trace(planned(3, every_s=0.01), Target(server.url, "small"), on_progress=stall_once)
    assert [result.late for result in run.results] == [True, True, True]
    assert all(result.ttft_s >= 0.13 - result.request.due_s for result in run.results)
    assert all(result.first_output_s - result.sent_s < result.ttft_s for result in run.results)


async def test_gaps_hold_a_pause_of_the_stream(server):
    """A pause in the middle of a stream is its longest gap."""

    async def answer_with_pause(exchange):
        await exchange.begin()
        await exchange.send_tokens(2)
        await asyncio.sleep(0.1)
        await exchange.send_tokens(2, "length")
        await exchange.send("[DONE]")

    server.answers = [answer_with_pause]
    run = await replay_trace(planned(1), Target(server.url, "small"))
    assert run.clean
    assert 0.05 < run.results[0].longest_gap_s == max(run.results[0].gaps_s)


async def test_outputs_are_kept_when_asked(server):
    """With keep_output the server is asked for token ids, and equal outputs have equal digests."""
    run = await replay_trace(planned(2), Target(server.url, "small", keep_output=True))
    assert all(body["return_token_ids"] for body in server.bodies)
    assert [list(result.token_ids) for result in run.results] == [[0, 1, 2, 3]] * 2
    assert run.results[0].output_digest == run.results[1].output_digest


async def test_stop_ends_the_replay_with_what_there_is(server):
    """Once stopped, nothing more is sent, open streams are closed, and the run says what was left unfinished."""
    server.answers = [answer_well, never_answer]
    stop = asyncio.Event()

    def stop_when_two_run(progress: ReplayProgress) -> None:
        if progress.sent >= 2 and progress.ended == 1:
            stop.set()

    requests = [*planned(2), PlannedRequest(2, 3600.0, 10, 4)]
    run = await replay_trace(requests, Target(server.url, "small"), on_progress=stop_when_two_run, stop=stop)
    assert sorted(result.status.value for result in run.results) == ["completed", "unfinished"]
    assert (run.interrupted, run.clean, run.planned) == (True, False, 3)


async def test_cancelling_a_replay_closes_its_streams(server):
    """A cancelled replay leaves no stream behind: the server sees its clients go."""
    gone = asyncio.Event()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def wait_for_the_client_to_go(exchange):
        await exchange.begin()
        loop.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(60)
        finally:
            loop.call_soon_threadsafe(gone.set)

    server.answers = [wait_for_the_client_to_go]
    replay = asyncio.create_task(replay_trace(planned(1), Target(server.url, "small")))
    await begun.wait()
    replay.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await replay
    await asyncio.wait_for(gone.wait(), 5)
    assert replay.cancelled()


async def test_progress_adds_up(server):
    """The last progress tells the whole replay."""
    told: list[ReplayProgress] = []
    server.answers = [answer_with_error_500]
    await replay_trace(planned(3), Target(server.url, "small"), on_progress=told.append)
    last = told[-1]
    assert (last.planned, last.sent, last.ended, last.failed, last.running, last.output_tokens) == (3, 3, 3, 1, 0, 8)
    assert last.ttft_p50_s > 0


async def test_many_streams_at_once(server):
    """Three hundred requests due at the same moment all complete."""
    run = await replay_trace(planned(300), Target(server.url, "small"))
    assert run.clean
    assert {result.request.index for result in run.results} == set(range(300))


async def test_the_served_model_is_asked_for(server):
    """The server's first model, its length and its version are what it says."""
    served = await ask_served_model(server.url)
    assert (served.name, served.max_model_len, served.server_version) == ("small", 2048, "0.32.0")


async def test_a_server_without_a_list_serves_the_named_model(server):
    """A server that lists no models is taken at the operator's word."""
    server.models = []
    assert (await ask_served_model(server.url, "mine")).name == "mine"


async def test_a_model_that_is_not_served_is_refused(server):
    """A model that is not listed is an error with those that are, before anything is sent."""
    with pytest.raises(TargetUnavailable, match="does not serve 'large'; it serves: small"):
        await ask_served_model(server.url, "large")


async def test_no_model_at_all_is_refused(server):
    """A server that lists none, for a replay that names none, is an error that says how to name one."""
    server.models = []
    with pytest.raises(TargetUnavailable, match="name one with --model"):
        await ask_served_model(server.url)
