"""Surrogates that need no fitting: they foretell what a law says, exactly and at once."""

from __future__ import annotations

from dataclasses import dataclass

from reconfigure_daemon.learning import Methods
from reconfigure_policies.domain.forecast import Estimate, Forecast
from reconfigure_policies.surrogate import Quality, Quantity, QuantityQuality


def law(configuration):
    """Joules per token and tokens per second of a small space, in which pace saves and places cost."""
    cap, pace = configuration["max_num_seqs"], configuration.get("pacing_interval_s", 0)
    return 0.5 - 8 * pace + 0.001 * cap, 20.0 * cap * (1 - 5 * pace)


def around(value, width=0.1):
    return Estimate(value, value * (1 - width), value * (1 + width))


@dataclass(frozen=True)
class KnownSurrogates:
    """See the module."""

    trials: tuple

    @property
    def quantities(self):
        return (Quantity.ENERGY, Quantity.THROUGHPUT)

    def forecast(self, configurations, context):
        return tuple(
            Forecast(each, context, around(law(each)[0]), around(law(each)[1]), around(0.2), around(0.02))
            for each in configurations
        )

    def with_trial(self, trial):
        return KnownSurrogates((*self.trials, trial))


def quality_of(surrogates, faults=()):
    """Good quality, whatever they are."""
    count = len(surrogates.trials)
    found = QuantityQuality(count, count, 0.98, 0.03, 0.95, 0.9, 0.99, 0.9, 0.98, 0.9, 0.01, 1.1)
    return Quality({Quantity.ENERGY: found, Quantity.THROUGHPUT: found}, tuple(faults))


def known_methods(faults=()):
    """What the learning room calls, and how often it fitted."""
    fits = []

    def fit(trials, space, options=None, warm=None):
        fits.append(len(trials))
        return KnownSurrogates(tuple(trials))

    return Methods(fit, lambda surrogates: quality_of(surrogates, faults)), fits
