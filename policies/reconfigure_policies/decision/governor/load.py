"""What arrives, averaged over the last seconds and minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, sqrt

from reconfigure_policies.decision.governor.sample import EngineSample
from reconfigure_policies.domain.workload import RequestRecord
from reconfigure_policies.step_cost import Workload

#: Standard normal deviate of 99 in 100.
_Z99 = 2.33

#: Finished requests before their lengths are believed.
_ENOUGH_REQUESTS = 5.0


@dataclass(frozen=True, slots=True)
class Average:
    """A mean over amounts that fade with time: `total / weight`."""

    total: float = 0.0
    weight: float = 0.0

    def plus(self, total: float, weight: float, kept: float) -> Average:
        """With new amounts; `kept` of the old ones stays."""
        return Average(kept * self.total + total, kept * self.weight + weight)

    @property
    def mean(self) -> float:
        """0 before there is anything."""
        return self.total / self.weight if self.weight > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """Rates and lengths of requests; averages over `recent` fade within 10 s, all others within 60 s.

    Attributes:
        recent_rps, usual_rps: arrivals each second at each replica.
        prompt, prompt_square, cached: tokens of a prompt, their square, and those that the prefix cache held.
        output, output_square: tokens of an answer and their square, over finished requests.
        replicas: of the engine, which share what arrives evenly.
    """

    recent_rps: Average = Average()
    usual_rps: Average = Average()
    prompt: Average = Average()
    prompt_square: Average = Average()
    cached: Average = Average()
    output: Average = Average()
    output_square: Average = Average()
    replicas: int = 1

    def after(self, sample: EngineSample) -> Load:
        """With another sample."""
        kept_10, kept_60 = exp(-sample.duration_s / 10), exp(-sample.duration_s / 60)
        answered = [record for record in sample.records if record.output_tokens > 0]
        return replace(
            self,
            recent_rps=self.recent_rps.plus(sample.arrivals, sample.duration_s, kept_10),
            usual_rps=self.usual_rps.plus(sample.arrivals, sample.duration_s, kept_60),
            prompt=self.prompt.plus(sample.prompt_tokens, sample.arrivals, kept_60),
            prompt_square=_squares(self.prompt_square, answered, "prompt_tokens", kept_60),
            cached=self.cached.plus(sample.cached_prompt_tokens, sample.arrivals, kept_60),
            output=self.output.plus(sum(r.output_tokens for r in answered), len(answered), kept_60),
            output_square=_squares(self.output_square, answered, "output_tokens", kept_60),
            replicas=sample.replicas,
        )

    @property
    def is_known(self) -> bool:
        """Whether enough requests came and finished to say what they are like."""
        return self.output.weight >= _ENOUGH_REQUESTS and self.recent_rps.total > 0.5 and self.prompt.mean > 0

    @property
    def engine_rps(self) -> float:
        """What arrives each second at all replicas together."""
        return self.replicas * self.recent_rps.mean

    @property
    def planned_rps(self) -> float:
        """The rate that each replica is to be ready for: the higher of the two averages."""
        return max(self.recent_rps.mean, self.usual_rps.mean)

    @property
    def output_tail_tokens(self) -> float:
        """An answer longer than 99 of 100."""
        return _tail(self.output.mean, self.output_square.mean)

    def workload(self, arrival_rate_rps: float) -> Workload:
        """Requests like these at one replica, at some rate."""
        context = self.prompt.mean
        cached = min(self.cached.mean, context - 1)
        return Workload(
            arrival_rate_rps=arrival_rate_rps,
            prompt_tokens=max(1.0, context - cached),
            context_tokens=context,
            output_tokens=self.output.mean,
            prompt_tail_tokens=max(1.0, _tail(context, self.prompt_square.mean) - cached),
            short_output_tokens=_harmonic_mean(self.output.mean, self.output_square.mean),
        )


def _squares(average: Average, records: list[RequestRecord], tokens: str, kept: float) -> Average:
    return average.plus(sum(getattr(record, tokens) ** 2 for record in records), len(records), kept)


def _harmonic_mean(mean: float, mean_square: float) -> float:
    """Of lengths whose logarithms are normal, as those of answers are, roughly."""
    return mean**3 / mean_square if mean_square > 0 else mean


def _tail(mean: float, mean_square: float) -> float:
    return mean + _Z99 * sqrt(max(0.0, mean_square - mean * mean))
