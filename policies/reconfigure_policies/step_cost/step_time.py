"""Seconds of an engine step by what it computes, learned from sums over steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp

from reconfigure_policies.domain.steps import StepMoments, StepTotals
from reconfigure_policies.step_cost.least_squares import Observations, Regression, dot

#: Busy seconds after which a step counts for a third.
_MEMORY_S = 300.0

#: First beliefs, of one step's weight: any engine's own times replace them within a second.
_DECODE_ONLY = Regression.starting_from((5e-3, 2e-5, 3e-8), (1.0, 16.0, 2e4), 1.0)
_WITH_PREFILL = Regression.starting_from((5e-3, 2e-5, 2e-5, 3e-8), (1.0, 500.0, 16.0, 2e4), 1.0)

#: Where a model's features stand in `STEP_VARIABLES`, and where the duration does.
_DECODE_ONLY_FEATURES = (0, 2, 3)
_WITH_PREFILL_FEATURES = (0, 1, 2, 3)
_DURATION = 4


@dataclass(frozen=True, slots=True)
class StepTimeModel:
    """Two fits, since a step without prefill waits for memory and one with it mostly computes.

    Attributes:
        decode_only: seconds by `(1, decode batch, KV tokens)`.
        with_prefill: seconds by `(1, prefill tokens, decode batch, KV tokens)`.
        error: running mean of |predicted - taken| / taken over reading intervals, each predicted before it was
            learned; None before the second.
    """

    decode_only: Regression = _DECODE_ONLY
    with_prefill: Regression = _WITH_PREFILL
    error: float | None = None

    @property
    def is_learned(self) -> bool:
        """Whether decode-only steps have been seen; the rest can be guessed from them."""
        return self.decode_only.count >= 20

    @property
    def knows_prefill(self) -> bool:
        """Whether steps with prefill have been seen."""
        return self.with_prefill.count >= 20

    def learned(self, steps: StepTotals) -> StepTimeModel:
        """The model after the steps of one reading interval."""
        if steps.busy_s <= 0:
            return self
        kept = exp(-steps.busy_s / _MEMORY_S)
        return replace(
            self,
            decode_only=_learned(self.decode_only, steps.decode_only, _DECODE_ONLY_FEATURES, kept),
            with_prefill=_learned(self.with_prefill, steps.with_prefill, _WITH_PREFILL_FEATURES, kept),
            error=running_error(self.error, self._predicted_s(steps) / steps.busy_s) if self.is_learned else None,
        )

    def stretched(self, factor: float) -> StepTimeModel:
        """Every step so much longer."""
        return replace(self, decode_only=self.decode_only.scaled(factor), with_prefill=self.with_prefill.scaled(factor))

    def decode_step_s(self, decode_batch: float, kv_tokens: float) -> float:
        """Seconds of a step without prefill."""
        return max(1e-6, self.decode_only.predict((1.0, decode_batch, kv_tokens)))

    def prefill_step_s(self, prefill_tokens: float, decode_batch: float, kv_tokens: float) -> float:
        """Seconds of a step with prefill; never less than the same step without."""
        fitted = self.with_prefill.predict((1.0, prefill_tokens, decode_batch, kv_tokens))
        return max(fitted, self.decode_step_s(decode_batch, kv_tokens))

    def decode_error(self, decode_batch: float, kv_tokens: float) -> float:
        """Relative standard error of `decode_step_s`: how far from what was seen it reaches."""
        features = (1.0, decode_batch, kv_tokens)
        return self.decode_only.standard_error(features) / self.decode_step_s(decode_batch, kv_tokens)

    def _predicted_s(self, steps: StepTotals) -> float:
        decoding = [steps.decode_only.product(0, i) for i in _DECODE_ONLY_FEATURES]
        prefilling = [steps.with_prefill.product(0, i) for i in _WITH_PREFILL_FEATURES]
        return dot(self.decode_only.coefficients, decoding) + dot(self.with_prefill.coefficients, prefilling)


def running_error(error: float | None, predicted_share: float) -> float:
    """A running mean of relative errors, by the share of the true value that was predicted."""
    latest = abs(predicted_share - 1.0)
    return latest if error is None else 0.9 * error + 0.1 * latest


def _learned(fit: Regression, steps: StepMoments, features: tuple[int, ...], kept: float) -> Regression:
    if steps.steps < 1:
        return fit
    return fit.learned(
        Observations(
            gram=tuple(tuple(steps.product(i, j) for j in features) for i in features),
            moments=tuple(steps.product(i, _DURATION) for i in features),
            square=steps.product(_DURATION, _DURATION),
            count=steps.steps,
        ),
        kept,
    )
