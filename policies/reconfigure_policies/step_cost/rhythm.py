"""How an engine's steps follow each other under a workload and a setting, in the steady state.

The engine takes one step after another; each gives every decoding request a token. A step without prefill starts no
earlier than one pacing interval after the one before it; an arrival breaks that wait and is computed at once. With
Poisson arrivals this has a closed form for a given batch; the batch follows from Little's law, and the two are
iterated until they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp

from reconfigure_policies.step_cost.model import StepCostModel

#: Standard normal deviates below which 99 of 100 values lie.
Z99 = 2.33

_MOST_ITERATIONS = 60
_AGREEMENT = 1e-3

#: Times the running cap that the batch may come to on the way to agreement.
_HOPELESS = 2.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What arrives, on average.

    Attributes:
        arrival_rate_rps: requests each second.
        prompt_tokens: of a request, less what the prefix cache holds.
        context_tokens: of a prompt with its cached part.
        output_tokens: of a request.
        prompt_tail_tokens: a prompt longer than 99 of 100 others.
    """

    arrival_rate_rps: float
    prompt_tokens: float
    context_tokens: float
    output_tokens: float
    prompt_tail_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Setting:
    """The hot knobs that pace and bound a step; see `settings.HOT_KNOBS`."""

    pacing_interval_s: float
    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Steps while requests decode.

    Attributes:
        period_s: mean time from the start of a step to that of the next.
        decode_s, prefill_s: seconds of a step without and with prefill.
        prompt_s: seconds of a step with one prompt in it.
        prefill_share: share of the steps that compute prompts.
        prefill_tokens: prompt tokens of such a step.
        prefill_load: share of the time that prompts alone would need.
        requests: mean number of decoding requests, at all times.
        batch, kv_tokens: means while any request decodes.
        arrival_rate: prompts, or chunks of them, each second.
        interval_s: the pacing interval.
    """

    period_s: float
    decode_s: float
    prefill_s: float
    prompt_s: float
    prefill_share: float
    prefill_tokens: float
    prefill_load: float
    requests: float
    batch: float
    kv_tokens: float
    arrival_rate: float
    interval_s: float

    def after(self, step_s: float) -> float:
        """Mean time from the start of a step of this length to that of the next."""
        return _period_s(step_s, self.interval_s, self.arrival_rate)

    @property
    def rested(self) -> float:
        """Share of the steps that start after a rest: paced, with no arrival during the step before."""
        return sum(
            share * exp(-self.arrival_rate * length_s)
            for share, length_s in ((1 - self.prefill_share, self.decode_s), (self.prefill_share, self.prefill_s))
            if length_s < self.interval_s
        )

    @property
    def prefill_rested(self) -> float:
        """Share of the prefill steps that start after a rest: their arrival broke a wait."""
        if self.arrival_rate <= 0 or self.decode_s >= self.interval_s:
            return 0.0
        any_s = 1 - exp(-self.arrival_rate * self.interval_s)
        return 1 - (1 - exp(-self.arrival_rate * self.decode_s)) / any_s

    @property
    def step_s(self) -> float:
        """Mean seconds of a step."""
        return (1 - self.prefill_share) * self.decode_s + self.prefill_share * self.prefill_s

    @property
    def step_met_s(self) -> float:
        """Mean length of the step that an arrival meets, longer ones being met more often."""
        squares = (1 - self.prefill_share) * self.decode_s**2 + self.prefill_share * self.prefill_s**2
        return squares / self.step_s


def settled_rhythm(model: StepCostModel, workload: Workload, setting: Setting) -> Rhythm:
    """Period and batch that agree with each other; past capacity, where none do, the last round's."""
    period_s = max(setting.pacing_interval_s, model.time.decode_step_s(1, workload.context_tokens))
    prefill_s = model.time.prefill_step_s(workload.prompt_tokens, 1, workload.context_tokens)
    for _ in range(_MOST_ITERATIONS):
        rhythm = _next(model, workload, setting, period_s, prefill_s)
        settled = abs(rhythm.period_s - period_s) <= _AGREEMENT * period_s
        if settled and abs(rhythm.prefill_s - prefill_s) <= _AGREEMENT * prefill_s:
            break
        if rhythm.requests > _HOPELESS * setting.max_num_seqs:
            break
        period_s, prefill_s = rhythm.period_s, rhythm.prefill_s
    return rhythm


def room(setting: Setting, batch: float) -> float:
    """Prompt tokens that fit into a step beside its decoding requests."""
    return max(1.0, setting.max_num_batched_tokens - batch)


def _next(model: StepCostModel, workload: Workload, setting: Setting, period_s: float, prefill_s: float) -> Rhythm:
    """One round: the batch of a period by Little's law, then the period of that batch."""
    rate, interval_s = workload.arrival_rate_rps, setting.pacing_interval_s
    requests = rate * max(0.0, workload.output_tokens - 1) * period_s
    admitted = min(requests, setting.max_num_seqs)
    batch = admitted / (1 - exp(-admitted)) if admitted > 0 else 1.0
    kv_tokens = batch * (workload.context_tokens + workload.output_tokens / 2)
    most_tokens = room(setting, batch)
    chunk_rate = rate * ceil(workload.prompt_tokens / most_tokens)
    decode_s = model.time.decode_step_s(batch, kv_tokens)
    share = _prefill_share(chunk_rate, max(interval_s, decode_s), max(interval_s, prefill_s))
    after_decode_s, after_prefill_s = (_period_s(step_s, interval_s, chunk_rate) for step_s in (decode_s, prefill_s))
    period_s = (1 - share) * after_decode_s + share * after_prefill_s
    tokens = rate * workload.prompt_tokens * period_s / share if share > 0 else 0.0
    chunk_s = model.time.prefill_step_s(min(workload.prompt_tokens, most_tokens), batch, kv_tokens)
    return Rhythm(
        period_s=period_s,
        decode_s=decode_s,
        prefill_s=model.time.prefill_step_s(min(tokens, most_tokens), batch, kv_tokens),
        prompt_s=chunk_s,
        prefill_share=share,
        prefill_tokens=tokens,
        prefill_load=chunk_rate * (chunk_s - decode_s),
        requests=requests,
        batch=batch,
        kv_tokens=kv_tokens,
        arrival_rate=chunk_rate,
        interval_s=interval_s,
    )


def _prefill_share(rate: float, after_decode_s: float, after_prefill_s: float) -> float:
    """Share of steps that have an arrival before them: the stationary law of a chain with two states."""
    met_after_decode = 1 - exp(-rate * after_decode_s)
    met_after_prefill = 1 - exp(-rate * after_prefill_s)
    return met_after_decode / (1 - met_after_prefill + met_after_decode) if met_after_decode > 0 else 0.0


def _period_s(step_s: float, interval_s: float, rate: float) -> float:
    """Mean time from a step's start to the next: its own length, then until the interval ends or someone arrives."""
    if step_s >= interval_s:
        return step_s
    if rate <= 0:
        return interval_s
    return step_s + (exp(-rate * step_s) - exp(-rate * interval_s)) / rate
