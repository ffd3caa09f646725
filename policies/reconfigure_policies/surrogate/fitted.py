"""Surrogates that were fitted to trials, and the fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.surrogate.encoding import Encoding, encoding_of
from reconfigure_policies.surrogate.errors import SurrogateCannotBeFitted, TooFewTrials, TrialInvalid
from reconfigure_policies.surrogate.feasibility import FeasibilityModel, fit_feasibility
from reconfigure_policies.surrogate.gaussian_process import Array, Data
from reconfigure_policies.surrogate.options import FitOptions
from reconfigure_policies.surrogate.quantity_model import NORMAL_95, QuantityModel, fit_quantity
from reconfigure_policies.surrogate.trials import Quantity, Trial


@dataclass(frozen=True)
class FittedSurrogates:
    """See `Surrogates`.

    Attributes:
        trials: what was fitted, oldest first.
        space, options: what it was fitted with.
        encodings: by quantity.
        models: by quantity.
        feasibility: None if nothing failed.
    """

    trials: tuple[Trial, ...]
    space: ConfigurationSpace
    options: FitOptions
    encodings: Mapping[Quantity, Encoding]
    models: Mapping[Quantity, QuantityModel]
    feasibility_encoding: Encoding
    feasibility: FeasibilityModel | None

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What is predicted."""
        return tuple(self.models)

    def effective(self, configuration: Configuration) -> Configuration:
        """What a configuration is to the engine."""
        return self.feasibility_encoding.effective(configuration)

    def forecast(self, configurations: Sequence[Configuration], context: WorkloadContext) -> tuple[Forecast, ...]:
        """See `Surrogates`."""
        effective = [self.effective(configuration) for configuration in configurations]
        knobs = self.knobs(effective)
        estimates = {quantity: self._estimates(quantity, knobs, context) for quantity in self.models}
        nothing: list[Estimate | None] = [None] * len(configurations)
        tried = self._times_tried()
        columns = [estimates.get(quantity, nothing) for quantity in Quantity]
        feasibility = self.probability_of_feasibility(knobs, context)
        return tuple(
            Forecast(configuration, context, energy, throughput, ttft, tpot, likely, tried.get(key, 0))
            for configuration, key, likely, energy, throughput, ttft, tpot in zip(
                configurations, effective, feasibility.tolist(), *columns, strict=True
            )
        )

    def knobs(self, effective: Sequence[Configuration]) -> tuple[Array, Array]:
        """Effective configurations as numbers, for whatever is asked of them; see `Encoding.of_knobs`."""
        return max(self.encodings.values(), key=lambda each: len(each.features)).of_knobs(effective)

    def probability_of_feasibility(self, knobs: tuple[Array, Array], context: WorkloadContext) -> Array:
        """Of each configuration, as `knobs` gives them, 0 to 1."""
        if self.feasibility is None:
            return np.ones(len(knobs[0]))
        return self.feasibility.probability(*self.feasibility_encoding.with_workload(*knobs, [context]))

    def with_trial(self, trial: Trial) -> FittedSurrogates:
        """See `Surrogates`."""
        check_trials([trial])
        trials = (*self.trials, trial)
        models = {
            quantity: _conditioned(self.encodings[quantity], model, quantity, trials, self.options)
            for quantity, model in self.models.items()
        }
        feasibility = _feasibility(self.feasibility_encoding, trials)
        return replace(self, trials=trials, models=models, feasibility=feasibility)

    def _estimates(
        self, quantity: Quantity, knobs: tuple[Array, Array], context: WorkloadContext
    ) -> list[Estimate | None]:
        model = self.models[quantity]
        mean, sd = model.predict(*self.encodings[quantity].with_workload(*knobs, [context]))
        reach = NORMAL_95 * model.interval_scale * sd
        ends = zip(np.exp(mean).tolist(), np.exp(mean - reach).tolist(), np.exp(mean + reach).tolist(), strict=True)
        return [Estimate(median, low, high) for median, low, high in ends]

    def _times_tried(self) -> dict[Configuration, int]:
        tried: dict[Configuration, int] = {}
        for trial in self.trials:
            if trial.feasible and trial.measured:
                key = self.effective(trial.configuration)
                tried[key] = tried.get(key, 0) + 1
        return tried


def fit_trials(
    trials: Sequence[Trial], space: ConfigurationSpace, options: FitOptions, warm: FittedSurrogates | None
) -> FittedSurrogates:
    """See `reconfigure_policies.surrogate.fit`."""
    check_trials(trials)
    recent = tuple(sorted(trials, key=lambda trial: trial.at)[-options.max_trials :])
    measured = {quantity: [trial for trial in recent if quantity in trial.measured] for quantity in options.quantities}
    if not any(measured.values()):
        raise TooFewTrials(len(recent), sum(bool(trial.measured) for trial in recent))
    contexts = [trial.context for trial in recent]
    everything = encoding_of(space, contexts, options.canonical)
    others = {
        Quantity.THROUGHPUT: encoding_of(space, contexts, options.canonical, with_rate=False),
        Quantity.TPOT: encoding_of(space, contexts, options.canonical, with_least_times=True),
    }
    encodings = {quantity: others.get(quantity, everything) for quantity in Quantity if measured.get(quantity)}
    models = {
        quantity: _fitted(encoding, quantity, measured[quantity], options, warm)
        for quantity, encoding in encodings.items()
    }
    return FittedSurrogates(recent, space, options, encodings, models, everything, _feasibility(everything, recent))


def check_trials(trials: Sequence[Trial]) -> None:
    """Every measured value is a positive number and every spread is none below 0.

    Raises:
        TrialInvalid: with a sentence for each that is not.
    """
    faults = [
        f"{quantity} of [{trial.configuration}] was {value.value:g} with a relative standard deviation of "
        f"{value.relative_sd:g}; a surrogate needs a finite value above 0 and a spread of at least 0"
        for trial in trials
        for quantity, value in trial.measured.items()
        if not (0 < value.value < math.inf and 0 <= value.relative_sd < math.inf)
    ]
    if faults:
        raise TrialInvalid(faults)


def _fitted(
    encoding: Encoding,
    quantity: Quantity,
    trials: Sequence[Trial],
    options: FitOptions,
    warm: FittedSurrogates | None,
) -> QuantityModel:
    before = warm.models.get(quantity) if warm is not None else None
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):  # NaN would wander into every forecast
            columns = _columns(encoding, quantity, trials, options)
            return fit_quantity(*columns, options.max_iterations, before, options.calibrate)
    except (LinAlgError, ArithmeticError, ValueError) as fault:
        raise SurrogateCannotBeFitted(quantity, len(trials), str(fault)) from fault


def _conditioned(
    encoding: Encoding, model: QuantityModel, quantity: Quantity, trials: Sequence[Trial], options: FitOptions
) -> QuantityModel:
    """The same hyperparameters with all trials that measured the quantity."""
    known = [trial for trial in trials if quantity in trial.measured]
    if len(known) == len(model.data):
        return model
    inputs, features, logarithms, variances, groups = _columns(encoding, quantity, known, options)
    data = Data(inputs, features, model.standardised(logarithms), variances / model.scale**2)
    return model.with_data(data, groups)


def _columns(
    encoding: Encoding, quantity: Quantity, trials: Sequence[Trial], options: FitOptions
) -> tuple[Array, Array, Array, Array, NDArray[np.int_]]:
    """Inputs, features, logarithms, their variances and the labels of effective configurations."""
    values = [trial.measured[quantity] for trial in trials]
    variances = [
        options.drift.variance(trial.at, value.relative_sd**2) for trial, value in zip(trials, values, strict=True)
    ]
    labels: dict[Configuration, int] = {}
    groups = [labels.setdefault(encoding.effective(trial.configuration), len(labels)) for trial in trials]
    inputs, features = encoding.encode([t.configuration for t in trials], [t.context for t in trials])
    logarithms = np.log([value.value for value in values])
    return inputs, features, logarithms, np.array(variances), np.array(groups)


def _feasibility(encoding: Encoding, trials: Sequence[Trial]) -> FeasibilityModel | None:
    inputs, features = encoding.encode([t.configuration for t in trials], [t.context for t in trials])
    return fit_feasibility(inputs, features, np.array([float(trial.feasible) for trial in trials]))
