"""A new core must generate, and generate what its model would, before it gets a client's request."""

from __future__ import annotations

import math
from typing import Any

from reconfigure_daemon.engine_host.core_router import CoreRouter, PrivateRequest
from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.replay import sampler_warm_up_request, warm_up_request

WARM_UP_TOKENS = 8


class WarmUpWrong(Exception):
    """The core generated too little, nonsense, or something that its predecessor would not have."""


async def warm_up(router: CoreRouter, new: Core, predecessor: Core | None = None) -> None:
    """Generate once on each replica of a new core, judge the answers, and keep one for the core that follows this one.

    A predecessor of the same numbers is compared by the answer it gave when it was new and alone, not by asking it
    now: what else runs beside a request can change what it gets (vLLM 0.32 on CPU applies a LoRA adapter of one
    request to the whole batch).

    Raises:
        WarmUpWrong: with what was found.
    """
    if not is_generative(new):
        return
    replicas = range(new.replicas)
    answers = await router.run_private(
        new, [warm_up_request(new.id, replica, new.config, WARM_UP_TOKENS) for replica in replicas]
    )
    await router.run_private(new, [sampler_warm_up_request(new.id, replica, new.config) for replica in replicas])
    for answer in answers:
        check_answer(answer.tokens, _logprobs(answer), new.config.model_config.get_vocab_size())
        if predecessor is not None and predecessor.first_answer is not None:
            check_agreement(predecessor.first_answer, _candidates(answer))
    new.first_answer = answers[0].tokens[0]


def is_generative(core: Core) -> bool:
    """Whether the core's model generates tokens; an embedding model is ready when it has booted."""
    return bool(core.config.model_config.runner_type == "generate")


def check_answer(tokens: list[int], logprobs: list[float], vocabulary: int) -> None:
    """All tokens there, all in the vocabulary, all log probabilities finite.

    Raises:
        WarmUpWrong: if not.
    """
    if len(tokens) != WARM_UP_TOKENS:
        raise WarmUpWrong(f"the warm-up generated {len(tokens)} of {WARM_UP_TOKENS} tokens")
    if any(not 0 <= token < vocabulary for token in tokens):
        raise WarmUpWrong(f"the warm-up generated tokens outside the vocabulary of {vocabulary}: {tokens}")
    if any(not math.isfinite(value) for value in logprobs):
        raise WarmUpWrong("the warm-up's log probabilities are not finite; the target computes nonsense")


def check_agreement(expected: int, candidates: list[int]) -> None:
    """The old core's first token is among the new one's likeliest.

    Raises:
        WarmUpWrong: if not.
    """
    if candidates and expected not in candidates:
        raise WarmUpWrong(
            f"the old core answers the warm-up with token {expected}, the new one with one of {candidates}"
        )


def _logprobs(answer: PrivateRequest) -> list[float]:
    return [float(value) for step in answer.logprobs for value in _field(step, 1).reshape(-1)]


def _candidates(answer: PrivateRequest) -> list[int]:
    return [int(token) for token in _field(answer.logprobs[0], 0).reshape(-1)] if answer.logprobs else []


def _field(step: Any, index: int) -> Any:
    """Token ids (0) or log probabilities (1) of a step: vLLM's `LogprobsLists` begins with these two."""
    import numpy

    return numpy.asarray(step[index])
