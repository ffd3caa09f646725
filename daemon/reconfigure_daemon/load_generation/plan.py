"""What will be sent and when: a trace sped up, cut, thinned and scaled to the machine at hand.

The plan is made before the first request is sent, so that a bad line or an empty selection shows at once and not after
minutes; the trace is read no further than the plan reaches.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from reconfigure_daemon.load_generation.trace import BLOCK_TOKENS, TraceRequest


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How a trace becomes a plan.

    Attributes:
        speed: arrival times are divided by it; 2 replays an hour in half an hour.
        start_s: where in the trace to begin, in trace time; what is before is passed over.
        limit_s: arrivals end after this much replayed (wall) time; streams that run then are finished. None: no limit.
        requests: at most this many. None: no limit.
        sample: share of the requests to keep. Which ones depends on `seed` and their place in the trace only, and a
            smaller share keeps a subset of what a larger one keeps.
        scale_tokens: prompt and output lengths are multiplied by it, blocks of shared prefixes with them.
        max_prompt_tokens, max_output_tokens: longer ones are cut to this, and counted. None: no cap.
        seed: of the sample.
    """

    speed: float = 1.0
    start_s: float = 0.0
    limit_s: float | None = None
    requests: int | None = None
    sample: float = 1.0
    scale_tokens: float = 1.0
    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send.

    Attributes:
        index: its place among the trace's readable requests, from 0.
        due_s: when to send it, in seconds since the start of the replay.
        prompt_tokens: length of its prompt, at least 1.
        output_tokens: length to force, at least 1.
        blocks: ids of its prompt's blocks; equal leading ids are equal leading tokens.
        block_tokens: tokens of a block.
    """

    index: int
    due_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    block_tokens: int = BLOCK_TOKENS

    @property
    def total_tokens(self) -> int:
        """Prompt and output together."""
        return self.prompt_tokens + self.output_tokens


@dataclass(slots=True)
class ReplayPlan:
    """The requests in order of arrival, and what was changed on the way.

    Attributes:
        requests: to be sent.
        capped_prompts, capped_outputs: requests cut to a cap.
        raised_to_one: requests with a prompt or output of no tokens, sent with one: the least that can be asked for.
        sampled_out: requests left out by `sample`.
    """

    requests: list[PlannedRequest] = field(default_factory=list)
    capped_prompts: int = 0
    capped_outputs: int = 0
    raised_to_one: int = 0
    sampled_out: int = 0

    @property
    def span_s(self) -> float:
        """From the start of the replay to the last arrival."""
        return self.requests[-1].due_s if self.requests else 0.0

    @property
    def arrival_rate_rps(self) -> float:
        """Mean arrivals each second; 0 where they take no time."""
        return len(self.requests) / self.span_s if self.span_s > 0 else 0.0

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens of all requests."""
        return sum(request.prompt_tokens for request in self.requests)

    @property
    def output_tokens(self) -> int:
        """Output tokens to force, of all requests."""
        return sum(request.output_tokens for request in self.requests)

    @property
    def longest_request_tokens(self) -> int:
        """Prompt and output of the longest request, which the server's context has to hold; 0 for none."""
        return max((request.total_tokens for request in self.requests), default=0)


def plan_replay(trace: Iterable[TraceRequest], options: PlanOptions) -> ReplayPlan:
    """Select, schedule and scale a trace's requests; consumes `trace` only as far as the limits reach."""
    plan = ReplayPlan()
    if options.requests is not None and options.requests <= 0:
        return plan
    for index, due_s, request in _selected(trace, options, plan):
        plan.requests.append(_sized(index, due_s, request, options, plan))
        if len(plan.requests) == options.requests:
            break
    return plan


def _selected(
    trace: Iterable[TraceRequest], options: PlanOptions, plan: ReplayPlan
) -> Iterator[tuple[int, float, TraceRequest]]:
    """The requests within start, limit and sample, each with its index and due time."""
    draws = random.Random(options.seed)  # noqa: S311 - a sample that can be drawn again, not a secret
    for index, request in enumerate(trace):
        kept = draws.random() < options.sample
        due_s = (request.arrival_s - options.start_s) / options.speed
        if due_s < 0:
            continue
        if options.limit_s is not None and due_s >= options.limit_s:
            return
        if kept:
            yield index, due_s, request
        else:
            plan.sampled_out += 1


def _sized(index: int, due_s: float, request: TraceRequest, options: PlanOptions, plan: ReplayPlan) -> PlannedRequest:
    plan.raised_to_one += request.prompt_tokens < 1 or request.output_tokens < 1
    planned = PlannedRequest(
        index,
        due_s,
        max(1, round(request.prompt_tokens * options.scale_tokens)),
        max(1, round(request.output_tokens * options.scale_tokens)),
        request.blocks,
        max(1, math.ceil(BLOCK_TOKENS * options.scale_tokens)),
    )
    if options.max_prompt_tokens is not None and planned.prompt_tokens > options.max_prompt_tokens:
        plan.capped_prompts += 1
        planned = replace(planned, prompt_tokens=options.max_prompt_tokens)
    if options.max_output_tokens is not None and planned.output_tokens > options.max_output_tokens:
        plan.capped_outputs += 1
        planned = replace(planned, output_tokens=options.max_output_tokens)
    return planned
