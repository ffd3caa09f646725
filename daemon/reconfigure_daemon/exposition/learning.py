"""What is expected of configurations, and how good such expectations are, for Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields

from prometheus_client import Gauge

from reconfigure_daemon.exposition.families import Families
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext

#: Label values; whatever else is reported counts as `other`, so that no caller can make the labels grow.
FORECAST_QUANTITIES = ("energy_per_output_token_j", "throughput_tps", "ttft_p99_s", "tpot_p99_s", "feasibility")
WORKLOAD_QUANTITIES = tuple(field.name for field in fields(WorkloadContext))
OTHER = "other"


class LearningObserver:
    """The part of the metrics that surrogates, fronts and shift detection report to; see `ports.LearningMetrics`."""

    def __init__(self, families: Families) -> None:
        self._families = families
        for quantity in (*WORKLOAD_QUANTITIES, OTHER):
            families.shifts.labels(quantity)
        for quantity in FORECAST_QUANTITIES:
            families.forecast_error.labels(quantity)
            for within in ("true", "false"):
                families.forecasts_checked.labels(quantity, within)

    def observe_shift(self, quantities: Iterable[str]) -> None:
        """The workload has shifted in these fields of `WorkloadContext`."""
        for quantity in quantities:
            self._families.shifts.labels(_among(WORKLOAD_QUANTITIES, quantity)).inc()

    def observe_forecast(self, forecast: Forecast | None) -> None:
        """What is expected of the enforced configuration now; nothing stays of what is not expected any more."""
        for field, family in self._families.forecast.items():
            family.clear()
            estimate = None if forecast is None else getattr(forecast, field)
            if estimate is not None:
                _set_bounds(family, estimate)

    def observe_forecast_check(self, quantity: str, expected: Estimate, measured: float) -> None:
        """A quantity was measured that had been forecast; both in the quantity's unit."""
        quantity = _among(FORECAST_QUANTITIES, quantity)
        within = expected.low <= measured <= expected.high
        self._families.forecasts_checked.labels(quantity, str(within).lower()).inc()
        if expected.median:
            error = abs(measured - expected.median) / abs(expected.median)
            self._families.forecast_error.labels(quantity).observe(error)

    def observe_surrogate(
        self, quantity: str, observations: int, error_ratio: float | None = None, coverage_ratio: float | None = None
    ) -> None:
        """A surrogate was fitted; its quality on held-out observations is NaN where it is not known."""
        quantity, families = _among(FORECAST_QUANTITIES, quantity), self._families
        families.surrogate_observations.labels(quantity).set(observations)
        families.surrogate_error.labels(quantity).set(math.nan if error_ratio is None else error_ratio)
        families.surrogate_coverage.labels(quantity).set(math.nan if coverage_ratio is None else coverage_ratio)

    def observe_fit(self, duration_s: float) -> None:
        """All surrogates were fitted."""
        self._families.surrogate_fit.observe(duration_s)

    def observe_front(self, configurations: int, hypervolume: float) -> None:
        """The Pareto front was drawn anew."""
        self._families.front_size.set(configurations)
        self._families.hypervolume.set(hypervolume)


def _set_bounds(family: Gauge, estimate: Estimate) -> None:
    for bound in ("low", "median", "high"):
        family.labels(bound).set(getattr(estimate, bound))


def _among(known: tuple[str, ...], quantity: str) -> str:
    return quantity if quantity in known else OTHER
