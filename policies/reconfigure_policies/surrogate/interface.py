"""What a fitted set of surrogates answers, and what is suggested and said of its quality; no heavy import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import Forecast, WorkloadContext
from reconfigure_policies.surrogate.trials import Quantity, Trial

#: Joules of a trial: `(configuration before, configuration to try)`, the switch and the measurement together.
CostOfTrial = Callable[[Configuration, Configuration], float]


class Surrogates(Protocol):
    """Gaussian processes of every quantity and a feasibility model, fitted to the same trials; immutable."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What they were fitted to, oldest first."""
        ...

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What they predict: what at least one trial measured."""
        ...

    def forecast(self, configurations: Sequence[Configuration], context: WorkloadContext) -> tuple[Forecast, ...]:
        """What to expect of each configuration under a workload; a quantity nobody measured is None."""
        ...

    def with_trial(self, trial: Trial) -> Surrogates:
        """Conditioned on one more trial without fitting again: in milliseconds, hyperparameters as they were."""
        ...


@dataclass(frozen=True, slots=True)
class QuantityQuality:
    """How well one quantity is predicted for configurations that were not measured, by grouped leave-one-out.

    All of one configuration's trials are left out together, knobs without effect collapsed. R2 is on the quantity's
    own scale, for people. The weighted ones are what trust rests on: on the logarithm, since decisions compare ratios,
    with every configuration weighing the same however often it was tried, and trials less the less they could be sure
    of. Every R2 is None with fewer than three configurations.

    Attributes:
        trials, configurations: how many there are.
        r2: 1 is perfect, 0 is no better than the mean.
        mape: mean absolute error as a share of the value.
        coverage: share of trials inside their 95 % interval, as it is reported (calibrated).
        raw_coverage: the same before calibration.
        ceiling_r2: what a perfect model would reach, from the noise of repeated trials; None without repetitions.
        linear_r2: of a ridge regression on the same inputs, the least that a Gaussian process must beat.
        weighted_r2, weighted_linear_r2: of both, weighted.
        noise_relative_sd: inferred spread between trials of one configuration.
        interval_scale: what calibration multiplied the intervals by.
    """

    trials: int
    configurations: int
    r2: float | None
    mape: float | None
    coverage: float | None
    raw_coverage: float | None
    ceiling_r2: float | None
    linear_r2: float | None
    weighted_r2: float | None
    weighted_linear_r2: float | None
    noise_relative_sd: float
    interval_scale: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Whether surrogates are to be trusted.

    Attributes:
        by_quantity: what leave-one-out found.
        faults: one sentence for each reason not to trust them; empty if there is none.
    """

    by_quantity: Mapping[Quantity, QuantityQuality]
    faults: tuple[str, ...] = ()

    @property
    def is_trusted(self) -> bool:
        """Whether decisions may rest on them."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One configuration worth a trial.

    Attributes:
        forecast: what is expected of it.
        gain: expected hypervolume that it adds to the front, feasibility and SLO included; in the objectives' units
            multiplied.
        success: probability that it boots, serves and holds the SLO, 0 to 1.
        cost_j: joules of the trial and the switch that reaches it; None if no cost was given.
        reason: one sentence.
    """

    forecast: Forecast
    gain: float
    success: float
    cost_j: float | None = None
    reason: str = ""

    @property
    def gain_per_j(self) -> float | None:
        """Gain for each joule; None without a cost."""
        return None if self.cost_j is None else self.gain / self.cost_j


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What to try next, in this order.

    Attributes:
        chosen: the best first; fewer than asked for if candidates ran out.
        reference_point: the worst value of each objective that counted.
        hypervolume: of the front that the trials' own forecasts span, in this context.
        remaining: expected gain of the best candidate as a share of `hypervolume`: when it is small, stop.
        left_out: candidates that were no choice, by reason, e.g. `tried before`.
    """

    chosen: tuple[Suggestion, ...]
    reference_point: tuple[float, ...]
    hypervolume: float
    remaining: float
    left_out: Mapping[str, int] = field(default_factory=dict)
