"""Which request to submit to another core so that a stream goes on where it stands, and when that is exact."""

from __future__ import annotations

import copy
from typing import Any

from reconfigure_daemon.engine_host.live_requests import LiveRequest
from reconfigure_daemon.engine_host.resumption import with_generated_tokens

PRIVATE_MARK = "reconfigure-private-"


def resumed_request(live: LiveRequest) -> Any:
    """The recorded request, bringing along what it has generated; embeddings and fresh requests go whole."""
    request = copy.copy(live.request)
    request.data_parallel_rank = live.replica
    if live.generated and request.sampling_params is not None:
        request.sampling_params = with_generated_tokens(request.sampling_params, live.generated)
        request.sampling_params.prompt_logprobs = None  # delivered with the first output
    return request


def precopy_request(live: LiveRequest, round_number: int, replica: int = 0) -> Any | None:
    """A one-token request that puts a live request's tokens so far into the prefix cache of the target's replica.

    None for what has no tokens to copy: embeddings, and prompts given as tensors.
    """
    from vllm import SamplingParams

    if live.request.sampling_params is None or not live.request.prompt_token_ids:
        return None
    request = copy.copy(live.request)
    request.request_id = f"{PRIVATE_MARK}{round_number}-{live.request.request_id}"
    request.external_req_id = request.request_id
    request.data_parallel_rank = replica
    request.prompt_token_ids = [*live.request.prompt_token_ids, *live.generated]
    request.sampling_params = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
    return request


def warm_up_request(core_id: int, replica: int, like: Any, tokens: int) -> Any:
    """A greedy generation of this many tokens with log probabilities, from a fixed prompt."""
    from vllm import SamplingParams

    return _generation(f"warm-up-{core_id}", replica, like, SamplingParams(
        max_tokens=tokens, min_tokens=tokens, temperature=0.0, ignore_eos=True, logprobs=5, detokenize=False,
    ))  # fmt: skip


def sampler_warm_up_request(core_id: int, replica: int, like: Any) -> Any:
    """One that uses every part of the sampler, so that no stream waits for a kernel to be compiled at the cut."""
    from vllm import SamplingParams

    return _generation(f"warm-up-sampler-{core_id}", replica, like, SamplingParams(
        max_tokens=3, min_tokens=3, temperature=0.8, top_p=0.9, top_k=20, min_p=0.01, seed=1, presence_penalty=0.5,
        frequency_penalty=0.5, repetition_penalty=1.1, ignore_eos=True, logprobs=2, detokenize=False,
    ))  # fmt: skip


def _generation(name: str, replica: int, like: Any, params: Any) -> Any:
    from vllm.v1.engine import EngineCoreRequest

    request_id = f"{PRIVATE_MARK}{name}-{replica}"
    prompt = [1 + i % max(1, min(200, like.model_config.get_vocab_size() - 2)) for i in range(24)]
    return EngineCoreRequest(
        request_id=request_id, prompt_token_ids=prompt, mm_features=None, sampling_params=params, pooling_params=None,
        arrival_time=0.0, lora_request=None, cache_salt=request_id, data_parallel_rank=replica,
        external_req_id=request_id,
    )  # fmt: skip


def inexact_reason(live: LiveRequest, reasoning: bool) -> str | None:
    """Why a live request cannot go on exactly in another core of the same numbers; None if it can."""
    request = live.request
    if request.sampling_params is None:
        return None  # embeddings are computed again, whole
    if getattr(request, "resumable", False):
        return "a streaming-input session holds its state in the core"
    if request.mm_features and any(getattr(f, "data", None) is None for f in request.mm_features):
        return "its images were sent once and are cached in the core"
    if request.prompt_token_ids is None:
        return "its prompt is a tensor, without tokens to continue from"
    if reasoning and request.sampling_params.structured_outputs is not None:
        return "its grammar begins only after the reasoning part"
    if (request.sampling_params.extra_args or {}).get("kv_transfer_params"):
        return "its KV cache comes from another server"
    return None
