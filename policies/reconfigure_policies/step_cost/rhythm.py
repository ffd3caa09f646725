"""How an engine's steps follow each other under a workload and a setting, in the steady state.

The engine takes one step after another, and there are two ways to go on. Flat out, each step gives every decoding
request a token and computes what prompts have come. Paced, steps that decode start one pacing interval apart on
average, and prompts are computed in between, in steps of their own, as they come; where there are too many for that,
it is flat out again. With Poisson arrivals each way has a closed form for a given batch; the batch follows from
Little's law, and the two are iterated until they agree. Each way is settled by itself: near its edge, the period of
one may be what makes the other possible, and a search that may change sides would go to and fro between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, expm1

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
        short_output_tokens: the harmonic mean of the output tokens, in which short answers weigh most; 0 where all
            answers are equally long.
    """

    arrival_rate_rps: float
    prompt_tokens: float
    context_tokens: float
    output_tokens: float
    prompt_tail_tokens: float = 0.0
    short_output_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Setting:
    """The hot knobs that pace and bound a step (see `settings.HOT_KNOBS`), and the clock that it runs at.

    Steps at another clock cost something else: a model is of one clock, and says nothing of settings with another.
    """

    pacing_interval_s: float
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_clock_mhz: int = 0


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Steps while requests decode.

    Attributes:
        paced: whether the engine rests between steps; otherwise it runs flat out.
        period_s: mean time from one token of a request to its next.
        decode_s, prefill_s: seconds of a step without and with prefill.
        prompt_s: seconds of a step with one prompt in it.
        prefill_rate: steps with prefill each second.
        prefill_load: share of the time that prompts alone would need.
        requests: mean number of decoding requests, at all times.
        batch, kv_tokens: means while any request decodes.
        arrival_rate: prompts, or chunks of them, each second.
        interval_s: the pacing interval.
    """

    paced: bool
    period_s: float
    decode_s: float
    prefill_s: float
    prompt_s: float
    prefill_rate: float
    prefill_load: float
    requests: float
    batch: float
    kv_tokens: float
    arrival_rate: float
    interval_s: float

    @property
    def prefill_share(self) -> float:
        """Share of the steps that compute prompts; flat out, these decode as well."""
        others = 1 / self.period_s - (0.0 if self.paced else self.prefill_rate)
        return self.prefill_rate / (self.prefill_rate + others)

    @property
    def beside(self) -> float:
        """Of the batch, what is in a step with prefill, too."""
        return 0.0 if self.paced else self.batch

    @property
    def context(self) -> float:
        """The KV tokens of `beside`."""
        return 0.0 if self.paced else self.kv_tokens

    @property
    def rested(self) -> float:
        """Share of the decode-only steps that start after a rest."""
        return max(0.0, 1 - self.prefill_rate * self.prefill_s) if self.paced else 0.0

    @property
    def prefill_rested(self) -> float:
        """Share of the prefill steps that start after a rest: what they compute came while nothing ran."""
        if not self.paced or not self.prefill_rate:
            return 0.0
        idle = 1 - self.decode_s / self.period_s - self.prefill_rate * self.prefill_s
        return max(0.0, min(1.0, self.arrival_rate * idle / self.prefill_rate))

    @property
    def step_s(self) -> float:
        """Mean seconds of a step."""
        return (1 - self.prefill_share) * self.decode_s + self.prefill_share * self.prefill_s

    @property
    def step_met_s(self) -> float:
        """Mean length of the step that an arrival meets, longer ones being met more often."""
        squares = (1 - self.prefill_share) * self.decode_s**2 + self.prefill_share * self.prefill_s**2
        return squares / self.step_s


def paced_rhythm(model: StepCostModel, workload: Workload, setting: Setting) -> Rhythm | None:
    """Period and batch that agree with each other while the engine rests; None if it never could."""
    return _settled(_paced, model, workload, setting)


def flat_out_rhythm(model: StepCostModel, workload: Workload, setting: Setting) -> Rhythm:
    """Period and batch that agree with each other without a rest; past capacity, where none do, the last round's."""
    rhythm = _settled(_flat_out, model, workload, setting)
    assert rhythm is not None, "one can always go flat out"
    return rhythm


def room(setting: Setting, batch: float) -> float:
    """Prompt tokens that fit into a step beside its decoding requests."""
    return max(1.0, setting.max_num_batched_tokens - batch)


@dataclass(frozen=True, slots=True)
class _Crowd:
    """The decoding requests: see `Rhythm`."""

    requests: float
    batch: float
    kv_tokens: float
    decode_s: float


_Way = Callable[[StepCostModel, Workload, Setting, _Crowd, float], Rhythm | None]


def _settled(way: _Way, model: StepCostModel, workload: Workload, setting: Setting) -> Rhythm | None:
    """Round by round, the batch of a period by Little's law, then the period of that batch."""
    period_s = max(setting.pacing_interval_s, model.time.decode_step_s(1, workload.context_tokens))
    prefill_s = model.time.prefill_step_s(workload.prompt_tokens, 1, workload.context_tokens)
    for _ in range(_MOST_ITERATIONS):
        rhythm = way(model, workload, setting, _crowd(model, workload, setting, period_s), prefill_s)
        if rhythm is None or rhythm.requests > _HOPELESS * setting.max_num_seqs:
            break
        settled = abs(rhythm.period_s - period_s) <= _AGREEMENT * period_s
        if settled and abs(rhythm.prefill_s - prefill_s) <= _AGREEMENT * prefill_s:
            break
        period_s, prefill_s = rhythm.period_s, rhythm.prefill_s
    return rhythm


def _crowd(model: StepCostModel, workload: Workload, setting: Setting, period_s: float) -> _Crowd:
    requests = workload.arrival_rate_rps * max(0.0, workload.output_tokens - 1) * period_s
    admitted = min(requests, setting.max_num_seqs)
    batch = admitted / -expm1(-admitted) if admitted > 0 else 1.0  # of next to none it is one
    kv_tokens = batch * (workload.context_tokens + workload.output_tokens / 2)
    return _Crowd(requests, batch, kv_tokens, model.time.decode_step_s(batch, kv_tokens))


def _paced(
    model: StepCostModel, workload: Workload, setting: Setting, crowd: _Crowd, prefill_s: float
) -> Rhythm | None:
    """Prompts run alone; None if an interval has no room for them."""
    interval_s, most_tokens = setting.pacing_interval_s, room(setting, 0)
    if crowd.decode_s >= interval_s:
        return None
    rate = workload.arrival_rate_rps * ceil(workload.prompt_tokens / most_tokens)
    prompt_s = model.time.prefill_step_s(min(workload.prompt_tokens, most_tokens), 0, 0)
    if crowd.decode_s / interval_s + rate * prompt_s >= 1:
        return None
    steps = _steps_of_their_own(rate, crowd.decode_s, interval_s, prefill_s)
    tokens = workload.arrival_rate_rps * workload.prompt_tokens / steps if steps > 0 else 0.0
    return Rhythm(
        paced=True,
        period_s=interval_s + steps * max(0.0, prefill_s - interval_s) ** 2 / 2,  # one interval of delay is made up
        decode_s=crowd.decode_s,
        prefill_s=model.time.prefill_step_s(min(tokens, most_tokens), 0, 0),
        prompt_s=prompt_s,
        prefill_rate=steps,
        prefill_load=rate * prompt_s,
        requests=crowd.requests,
        batch=crowd.batch,
        kv_tokens=crowd.kv_tokens,
        arrival_rate=rate,
        interval_s=interval_s,
    )


def _steps_of_their_own(rate: float, decode_s: float, interval_s: float, prefill_s: float) -> float:
    """Steps with prefill each second: whoever comes while one step runs shares the next, others have one each.

    The steps `s` solve `s = rate (1 - decode_s / interval_s - s prefill_s) + (1 - exp(-rate decode_s)) / interval_s
    + s (1 - exp(-rate prefill_s))`: begun by an arrival in a rest, after a decode-only step, and after one another.
    """
    load = rate * prefill_s
    begun = rate * (1 - decode_s / interval_s) + (1 - exp(-rate * decode_s)) / interval_s
    return max(0.0, begun) / (load + exp(-load))


def _flat_out(model: StepCostModel, workload: Workload, setting: Setting, crowd: _Crowd, prefill_s: float) -> Rhythm:
    """Each step decodes, and computes what prompts came during the one before."""
    most_tokens = room(setting, crowd.batch)
    rate = workload.arrival_rate_rps * ceil(workload.prompt_tokens / most_tokens)
    share = _prefill_share(rate, crowd.decode_s, prefill_s)
    period_s = max(setting.pacing_interval_s, (1 - share) * crowd.decode_s + share * prefill_s)
    tokens = workload.arrival_rate_rps * workload.prompt_tokens * period_s / share if share > 0 else 0.0
    chunk_s = model.time.prefill_step_s(min(workload.prompt_tokens, most_tokens), crowd.batch, crowd.kv_tokens)
    return Rhythm(
        paced=False,
        period_s=period_s,
        decode_s=crowd.decode_s,
        prefill_s=model.time.prefill_step_s(min(tokens, most_tokens), crowd.batch, crowd.kv_tokens),
        prompt_s=chunk_s,
        prefill_rate=share / period_s,
        prefill_load=rate * (chunk_s - crowd.decode_s),
        requests=crowd.requests,
        batch=crowd.batch,
        kv_tokens=crowd.kv_tokens,
        arrival_rate=rate,
        interval_s=setting.pacing_interval_s,
    )


def _prefill_share(rate: float, decode_s: float, prefill_s: float) -> float:
    """Share of steps that have an arrival before them: the stationary law of a chain with two states."""
    met_after_decode, met_after_prefill = 1 - exp(-rate * decode_s), 1 - exp(-rate * prefill_s)
    return met_after_decode / (1 - met_after_prefill + met_after_decode) if met_after_decode > 0 else 0.0
