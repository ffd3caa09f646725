"""What a steady workload would get from a setting, and cost: queueing theory over a step-cost model."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt

from reconfigure_policies.step_cost.model import StepCostModel
from reconfigure_policies.step_cost.rhythm import Z99, Rhythm, Setting, Workload, flat_out_rhythm, paced_rhythm, room
from reconfigure_policies.step_cost.step_energy import EnergyUse


@dataclass(frozen=True, slots=True)
class SteadyState:
    """A prediction; latencies and costs are infinite where the queue would grow without end.

    Attributes:
        tpot_s, ttft_s: time per output token on average, time to first token in the median.
        tpot_tail_s, ttft_tail_s: what 99 of 100 requests stay below.
        power_w, energy_per_output_token_j: of all metered devices, idle power included.
        batch: requests that decode together while any does.
        utilisation: the fullest of running cap, token budget and KV cache; above 1 the queue grows.
        busy: share of the time in which a step runs.
        tpot_error: relative standard error, from how predictions fared so far and how far from what was seen this one
            reaches.
    """

    tpot_s: float
    tpot_tail_s: float
    ttft_s: float
    ttft_tail_s: float
    power_w: float
    energy_per_output_token_j: float
    batch: float
    utilisation: float
    busy: float
    tpot_error: float


def steady_state(model: StepCostModel, workload: Workload, setting: Setting) -> SteadyState:
    """What the workload would get and cost if it went on like this under the setting.

    Args:
        model: a learned one; an unlearned one gives numbers that mean nothing.
        workload: with a positive arrival rate, and at least one prompt and one output token.
        setting: any.
    """
    rhythm, utilisation = _rhythm(model, workload, setting)
    tpot_error = _tpot_error(model, rhythm)
    if utilisation > 1 or rhythm.prefill_load >= 1:
        return SteadyState(
            inf, inf, inf, inf, inf, inf, rhythm.batch, max(utilisation, rhythm.prefill_load), 1.0, tpot_error
        )
    tpot_s = _tpot_s(workload, rhythm)
    steps = _step_rates(workload, rhythm, tpot_s)
    ttft_s, ttft_tail_s = _ttft(model, workload, setting, rhythm, steps)
    power_w = model.energy.energy_of(_use(workload, rhythm, steps))
    return SteadyState(
        tpot_s=tpot_s,
        tpot_tail_s=_tpot_tail_s(model, workload, rhythm, tpot_s),
        ttft_s=ttft_s,
        ttft_tail_s=ttft_tail_s,
        power_w=power_w,
        energy_per_output_token_j=power_w / (workload.arrival_rate_rps * workload.output_tokens),
        batch=rhythm.batch,
        utilisation=utilisation,
        busy=steps.busy(rhythm),
        tpot_error=tpot_error,
    )


def _rhythm(model: StepCostModel, workload: Workload, setting: Setting) -> tuple[Rhythm, float]:
    """How the engine goes, and its utilisation: paced where nothing fills up, for a full engine does not rest."""
    paced = paced_rhythm(model, workload, setting)
    if paced is not None and (utilisation := _utilisation(model, workload, setting, paced)) <= 1:
        return paced, utilisation
    flat_out = flat_out_rhythm(model, workload, setting)
    return flat_out, _utilisation(model, workload, setting, flat_out)


@dataclass(frozen=True, slots=True)
class _StepRates:
    """Steps each second, without and with prefill, and the share of the time in which any request lives."""

    decode_only: float
    with_prefill: float
    active: float

    def busy(self, rhythm: Rhythm) -> float:
        """Share of the time in which a step runs."""
        return min(1.0, self.decode_only * rhythm.decode_s + self.with_prefill * rhythm.prefill_s)


def _utilisation(model: StepCostModel, workload: Workload, setting: Setting, rhythm: Rhythm) -> float:
    """The fullest bound; the cap and the cache must hold the batch's usual swings, too."""
    swing = rhythm.requests + Z99 * sqrt(rhythm.requests)
    full = [swing / setting.max_num_seqs if setting.max_num_seqs > 1 else rhythm.requests]
    if not rhythm.paced:  # otherwise prompts have steps of their own
        prompts = workload.arrival_rate_rps * workload.prompt_tokens
        full.append(prompts * rhythm.period_s / room(setting, rhythm.batch))
    if model.kv_capacity_tokens:
        full.append(swing * (workload.context_tokens + workload.output_tokens / 2) / model.kv_capacity_tokens)
    return max(full)


def _tpot_s(workload: Workload, rhythm: Rhythm) -> float:
    """The period as requests see it.

    Paced, a request's second token comes with the batch's next step, half a period after its first on average. Flat
    out, those that arrive in a crowd share their first gaps with its prefill steps.
    """
    gaps, load = max(1.0, workload.output_tokens - 1), rhythm.prefill_load
    if rhythm.paced:
        return rhythm.period_s * (1 - 0.5 / gaps)
    own_s = rhythm.prompt_s + load * rhythm.step_met_s
    next_s = rhythm.decode_s + load * own_s
    return rhythm.period_s + max(0.0, next_s - rhythm.period_s) / (1 - load) / gaps


def _tpot_tail_s(model: StepCostModel, workload: Workload, rhythm: Rhythm, tpot_s: float) -> float:
    """99 of 100 requests' time per token: a larger batch, and more prefill steps in their way than usual.

    What a step is late weighs most in short answers, whose tokens are few.
    """
    batch = rhythm.batch + Z99 * sqrt(rhythm.batch)
    decode_s = model.time.decode_step_s(batch, rhythm.kv_tokens * batch / rhythm.batch)
    gaps, share = max(1.0, (workload.short_output_tokens or workload.output_tokens) - 1), rhythm.prefill_share
    edge_s = max(0.0, rhythm.prefill_s - decode_s) / gaps  # the last gap may end with a prefill step
    if rhythm.paced:
        late_s = sqrt(rhythm.prefill_rate * rhythm.prefill_s**3 / 3)  # what a prompt keeps the last step waiting
        return max(rhythm.period_s, decode_s) + Z99 * late_s / gaps + edge_s
    base_s = max(rhythm.interval_s, decode_s)
    met = min(1.0, share + Z99 * sqrt(share * (1 - share) / gaps))
    crowd_s = max(0.0, tpot_s - rhythm.period_s)
    return base_s + met * max(0.0, rhythm.prefill_s - base_s) + edge_s + crowd_s


def _step_rates(workload: Workload, rhythm: Rhythm, tpot_s: float) -> _StepRates:
    """Steps each second from how long requests live and how many prompts share a step.

    Flat out, prefill makes requests bunch up, so that the engine is empty more often than independent requests would
    leave it. Their number is taken as negative binomial; its variance over its mean, `(1 - load)^-1.5`, was fitted to
    the emulated engine at prefill loads up to 0.6.
    """
    living = workload.arrival_rate_rps * (rhythm.prompt_s + max(0.0, workload.output_tokens - 1) * tpot_s)
    bunching = 1.0 if rhythm.paced else (1 - rhythm.prefill_load) ** -1.5
    empty = exp(-living) if bunching < 1.001 else bunching ** (-living / (bunching - 1))
    with_prefill = min(rhythm.arrival_rate, rhythm.prefill_rate)
    if rhythm.paced:
        return _StepRates((1 - empty) / rhythm.period_s, with_prefill, 1 - empty)
    left = max(0.0, 1 - empty - with_prefill * rhythm.prefill_s)
    return _StepRates(left / rhythm.decode_s, with_prefill, 1 - empty)


def _ttft(
    model: StepCostModel, workload: Workload, setting: Setting, rhythm: Rhythm, steps: _StepRates
) -> tuple[float, float]:
    """`(median, tail)` of the time to first token: the rest of the step that is met, then the prompt's own steps."""
    waited_s = _median_wait_s(rhythm, steps)
    others = 1 + workload.arrival_rate_rps * waited_s
    beside, context = steps.active * rhythm.beside, steps.active * rhythm.context
    median_s = waited_s + _prefill_s(model, setting, workload.prompt_tokens * others, beside, context)
    tail_tokens = max(workload.prompt_tail_tokens, workload.prompt_tokens)
    own_s = _prefill_s(model, setting, tail_tokens, rhythm.beside, rhythm.context)
    tail_s = rhythm.decode_s + _queue_tail_s(workload, rhythm) + own_s
    return model.ttft_overhead_s + median_s, model.ttft_overhead_s + tail_s


def _median_wait_s(rhythm: Rhythm, steps: _StepRates) -> float:
    """What half of the arrivals wait at most: none in a rest, else the rest of a step, each step met by its length."""
    missing = 0.5 - (1 - steps.busy(rhythm))
    rate = steps.decode_only + steps.with_prefill
    if missing <= 0:
        return 0.0
    if missing <= rate * rhythm.decode_s:
        return missing / rate
    return rhythm.decode_s + (missing - rate * rhythm.decode_s) / max(steps.with_prefill, 1e-9)


def _queue_tail_s(workload: Workload, rhythm: Rhythm) -> float:
    """What 99 of 100 arrivals wait at most for the prompts before them: the exponential tail of an M/G/1 queue."""
    load = rhythm.prefill_load
    if load <= 0.01:
        return 0.0
    spread = max(0.0, workload.prompt_tail_tokens / max(1.0, workload.prompt_tokens) - 1) / Z99
    prefill_s = load / workload.arrival_rate_rps
    mean_s = workload.arrival_rate_rps * prefill_s**2 * (1 + spread**2) / (2 * (1 - load))
    return mean_s / load * log(load / 0.01)


def _prefill_s(model: StepCostModel, setting: Setting, tokens: float, batch: float, kv_tokens: float) -> float:
    """Seconds to compute prompt tokens, in as many steps as the budget makes of them."""
    most = room(setting, batch)
    whole = int(tokens // most)
    rest_s = model.time.prefill_step_s(tokens - whole * most, batch, kv_tokens)
    return rest_s + (whole * model.time.prefill_step_s(most, batch, kv_tokens) if whole else 0.0)


def _use(workload: Workload, rhythm: Rhythm, steps: _StepRates) -> EnergyUse:
    """What a second of it holds."""
    rate, gaps = workload.arrival_rate_rps, max(0.0, workload.output_tokens - 1)
    unrested_prefill = steps.active * (1 - rhythm.prefill_rested)
    return EnergyUse(
        duration_s=1.0,
        steps=steps.decode_only + steps.with_prefill,
        prefill_tokens=rate * workload.prompt_tokens,
        decode_tokens=rate * gaps,
        kv_tokens=rate * gaps * (workload.context_tokens + workload.output_tokens / 2),
        back_to_back_steps=steps.decode_only * (1 - rhythm.rested) + steps.with_prefill * unrested_prefill,
        back_to_back_prefill_tokens=rate * workload.prompt_tokens * unrested_prefill,
    )


def _tpot_error(model: StepCostModel, rhythm: Rhythm) -> float:
    """A pace that is kept needs no model; only what is not paced is uncertain."""
    known = model.time.error or 0.0
    reach = model.time.decode_error(rhythm.batch, rhythm.kv_tokens)
    return rhythm.step_s / rhythm.period_s * sqrt(known * known + reach * reach)
