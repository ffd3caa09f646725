"""Sends one streaming completion of exact lengths, and judges how it ended."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

import aiohttp

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.load_generation.completion_stream import CompletionStream
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.prompts import PromptSource
from reconfigure_daemon.load_generation.results import RequestResult, RequestStatus
from reconfigure_daemon.load_generation.target import Target

#: How much of a server's error text is kept.
_DETAIL_CHARACTERS = 300


class CompletionClient:
    """Speaks `/v1/completions` to one server; any number of requests at once."""

    def __init__(self, session: aiohttp.ClientSession, target: Target, clock: Clock) -> None:
        self._session = session
        self._target = target
        self._clock = clock
        self._prompts = PromptSource(target.vocab_size, target.seed)
        self._url = f"{target.url}/v1/completions"

    def body(self, request: PlannedRequest) -> bytes:
        """The request's JSON. Takes milliseconds for a long prompt, so make it before the request is due."""
        fields = {
            "model": self._target.model,
            "prompt": self._prompts.tokens(request),
            "max_tokens": request.output_tokens,
            "min_tokens": request.output_tokens,
            "ignore_eos": True,
            "temperature": self._target.temperature,
            "seed": self._target.seed + request.index,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._target.keep_output:
            fields["return_token_ids"] = True
        return json.dumps(fields, separators=(",", ":")).encode()

    async def complete(self, body: bytes, result: RequestResult, origin_s: float) -> None:
        """Send a request and fill in its result as the answer comes; never raises for what a server may do.

        Args:
            body: from `body`.
            result: of the request; if this is cancelled, it stays `unfinished` with what came until then.
            origin_s: the monotonic time at which the replay started.
        """
        stream = CompletionStream(keep_output=self._target.keep_output)
        try:
            async with asyncio.timeout(self._target.timeout_s):
                result.status, result.detail = await self._exchange(body, stream, result.request.output_tokens)
        except TimeoutError:
            result.status, result.detail = RequestStatus.TIMED_OUT, f"no end within {self._target.timeout_s:g} s"
        finally:
            _take_over(stream, result, origin_s)
        result.ended_s = self._clock.monotonic() - origin_s

    async def _exchange(self, body: bytes, stream: CompletionStream, forced_tokens: int) -> tuple[RequestStatus, str]:
        answered = False
        try:
            async with self._session.post(self._url, data=body) as response:
                if response.status != HTTPStatus.OK:
                    return await _judge_refusal(response)
                answered = True
                async for piece in response.content.iter_any():
                    stream.feed(piece, self._clock.monotonic())
        except (aiohttp.ClientError, OSError) as fault:
            status = RequestStatus.BROKEN if answered else RequestStatus.LOST
            return status, f"{type(fault).__name__}: {fault}"[:_DETAIL_CHARACTERS]
        return _judge_stream(stream, forced_tokens)


async def _judge_refusal(response: aiohttp.ClientResponse) -> tuple[RequestStatus, str]:
    client_error = HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR
    text = (await response.content.read(4 * _DETAIL_CHARACTERS)).decode(errors="replace")
    status = RequestStatus.REFUSED if client_error else RequestStatus.LOST
    return status, f"HTTP {response.status}: {text[:_DETAIL_CHARACTERS]}"


def _judge_stream(stream: CompletionStream, forced_tokens: int) -> tuple[RequestStatus, str]:
    """How a stream that the server closed has ended."""
    tokens = f"{stream.output_tokens} of {forced_tokens} tokens"
    if stream.fault:
        return RequestStatus.BROKEN, f"after {tokens}: {stream.fault}"[:_DETAIL_CHARACTERS]
    if stream.finish_reason is None:
        return RequestStatus.BROKEN, f"ended after {tokens} without a finish reason"
    if not stream.done:
        return RequestStatus.BROKEN, f"ended after {tokens} without [DONE]"
    if stream.output_tokens < forced_tokens:
        return RequestStatus.TRUNCATED, f"finished ({stream.finish_reason}) after {tokens}"
    return RequestStatus.COMPLETED, ""


def _take_over(stream: CompletionStream, result: RequestResult, origin_s: float) -> None:
    """Move what the stream measured into the result."""
    if stream.first_output_s is not None:
        result.first_output_s = stream.first_output_s - origin_s
    result.output_tokens = stream.output_tokens
    result.gaps_s = stream.gaps_s
    result.finish_reason = stream.finish_reason
    result.token_ids = stream.token_ids
    result.text = "".join(stream.text)
