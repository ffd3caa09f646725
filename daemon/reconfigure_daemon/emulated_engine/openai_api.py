"""The emulated engine's OpenAI surface: models, completions, chat, health and a few of vLLM's metrics."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import ValidationError

from reconfigure_daemon.emulated_engine import tokens
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.emulated_engine.live_engine import EngineStopping
from reconfigure_daemon.emulated_engine.openai_messages import (
    Answer,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    RequestRejected,
)
from reconfigure_policies.domain.workload import FinishReason

MAX_MODEL_LEN = 32_768
_MAX_BODY_BYTES = 16 * 1024 * 1024


def openai_application(host: EmulatedHost) -> web.Application:
    """The application that clients speak to."""
    api = _OpenAiApi(host)
    application = web.Application(client_max_size=_MAX_BODY_BYTES)
    application.add_routes(
        [
            web.get("/v1/models", api.models),
            web.post("/v1/completions", api.completions),
            web.post("/v1/chat/completions", api.chat),
            web.get("/health", api.health),
            web.get("/metrics", api.metrics),
        ]
    )
    return application


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be generated for a request: all of it is known beforehand."""

    prompt: list[int]
    seed: int
    output_tokens: int
    reason: FinishReason

    def output(self, begin: int, end: int) -> list[int]:
        return [tokens.answer_token(self.seed, position) for position in range(begin, end)]


class _OpenAiApi:
    def __init__(self, host: EmulatedHost) -> None:
        self._host = host
        self._registry = CollectorRegistry()
        self._registry.register(_Totals(host))

    async def models(self, _: web.Request) -> web.Response:
        model = {"id": self._host.model, "object": "model", "owned_by": "emulated", "max_model_len": MAX_MODEL_LEN}
        return web.json_response({"object": "list", "data": [model]})

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._host.serves else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, CompletionRequest)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, ChatRequest)

    async def _answered(self, request: web.Request, form: type[GenerationRequest]) -> web.StreamResponse:
        try:
            wanted = _parsed(form, await request.read())
            plan = self._plan(wanted)
            answer = Answer.to(wanted, self._host.model, plan.prompt)
            return await (self._stream(request, wanted, plan, answer) if wanted.stream else self._whole(plan, answer))
        except RequestRejected as rejected:
            return _refusal(rejected)
        except EngineStopping:
            return _refusal(RequestRejected(503, "ServiceUnavailableError", "the engine is stopping; try another one"))

    def _plan(self, wanted: GenerationRequest) -> _Plan:
        if wanted.model not in (None, self._host.model):
            message = f"the model `{wanted.model}` does not exist; this engine serves `{self._host.model}`"
            raise RequestRejected(404, "NotFoundError", message)
        prompt = wanted.prompt_tokens()
        limit = _token_limit(len(prompt), wanted)
        seed = tokens.seed_of(prompt)
        natural = max(tokens.natural_length(seed), wanted.min_tokens)
        if wanted.ignore_eos or natural >= limit:
            return _Plan(prompt, seed, limit, FinishReason.LENGTH)
        return _Plan(prompt, seed, natural, FinishReason.STOP)

    async def _whole(self, plan: _Plan, answer: Answer) -> web.Response:
        generated = 0
        async with aclosing(self._generate(plan)) as counts:
            async for count in counts:
                generated = count
        return web.json_response(answer.whole(plan.output(0, generated), _reason(plan, generated)))

    async def _stream(
        self, request: web.Request, wanted: GenerationRequest, plan: _Plan, answer: Answer
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        sent = 0
        async with aclosing(self._generate(plan)) as counts:
            async for generated in counts:
                if not response.prepared:
                    await response.prepare(request)
                reason = plan.reason if generated == plan.output_tokens else None
                await response.write(_event(answer.event(plan.output(sent, generated), reason, first=sent == 0)))
                sent = generated
        if sent < plan.output_tokens:
            await response.write(_event(answer.event([], FinishReason.ABORT, first=False)))
        if wanted.stream_options.include_usage:
            await response.write(_event(answer.usage_event(sent)))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _generate(self, plan: _Plan) -> AsyncGenerator[int, None]:
        block_tokens = self._host.block_size
        blocks = tokens.block_hashes(plan.prompt, block_tokens)
        return self._host.engine.generate(len(plan.prompt), plan.output_tokens, blocks, block_tokens, plan.reason)


class _Totals:
    """vLLM's names for the counters that the emulation keeps."""

    def __init__(self, host: EmulatedHost) -> None:
        self._host = host

    def collect(self) -> list[Metric]:
        totals = self._host.engine.scheduler.totals()
        return [
            GaugeMetricFamily("vllm:num_requests_running", "Requests in the batch.", totals.running),
            GaugeMetricFamily("vllm:num_requests_waiting", "Requests in the queue.", totals.waiting),
            GaugeMetricFamily("vllm:kv_cache_usage_perc", "Share of the KV cache in use.", totals.kv_cache_usage),
            CounterMetricFamily("vllm:prompt_tokens", "Prompt tokens processed.", totals.prompt_tokens),
            CounterMetricFamily("vllm:generation_tokens", "Output tokens generated.", totals.output_tokens),
        ]


def _refusal(rejected: RequestRejected) -> web.Response:
    return web.json_response(rejected.body(), status=rejected.status)


def _parsed(form: type[GenerationRequest], body: bytes) -> GenerationRequest:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}" for fault in error.errors()]
        raise RequestRejected(400, "BadRequestError", "; ".join(faults)) from error


def _token_limit(prompt_tokens: int, wanted: GenerationRequest) -> int:
    """How many tokens may be generated; the context must have room for them."""
    if prompt_tokens == 0:
        raise RequestRejected(400, "BadRequestError", "the prompt is empty; send at least one token")
    room = MAX_MODEL_LEN - prompt_tokens
    limit = room if wanted.token_limit is None else wanted.token_limit
    if limit > room or room < 1:
        message = f"{prompt_tokens} prompt tokens and {limit} output tokens; the context holds {MAX_MODEL_LEN}"
        raise RequestRejected(400, "BadRequestError", message)
    return limit


def _reason(plan: _Plan, generated: int) -> FinishReason:
    return plan.reason if generated == plan.output_tokens else FinishReason.ABORT


def _event(content: object) -> bytes:
    return f"data: {json.dumps(content, separators=(',', ':'))}\n\n".encode()
