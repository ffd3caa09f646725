"""What an objective makes of a forecast: one cost, so that any two configurations compare."""

from __future__ import annotations

from math import exp, log

from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.forecast import Estimate, Forecast
from reconfigure_policies.domain.objective import Objective


def log_cost(forecast: Forecast, objective: Objective, terms: DecisionTerms) -> float | None:
    """The logarithm of what the objective counts as cost, lower is better; None where it was never measured.

    Energy counts joules per output token at the workload's arrival rate. Throughput counts seconds per output token
    when saturated with requests of this shape; whether the SLO holds is judged beside it. Balanced is the weighted
    geometric mean of the two, so that its weight means the same whatever their units.
    """
    energy = _log_energy(forecast.energy_per_output_token_j, terms.caution)
    time = _log_time(forecast.throughput_tps, terms.caution)
    if objective is Objective.ENERGY:
        return energy
    if objective is Objective.THROUGHPUT:
        return time
    if energy is None or time is None:
        return None
    return terms.balanced_energy_weight * energy + (1 - terms.balanced_energy_weight) * time


def saving(before: float, after: float) -> float:
    """Share of the cost that a change saves, below 0 if it costs more; of two `log_cost`s."""
    return 1 - exp(after - before)


def expectation(forecast: Forecast, objective: Objective) -> str:
    """What the objective is about, in words with the interval."""
    energy, throughput = forecast.energy_per_output_token_j, forecast.throughput_tps
    joules = "unknown joules" if energy is None else f"{estimate_words(energy)} J per output token"
    tokens = "unknown capacity" if throughput is None else f"{estimate_words(throughput)} output tokens/s at most"
    return {
        Objective.ENERGY: joules,
        Objective.THROUGHPUT: tokens,
        Objective.BALANCED: f"{joules} and {tokens}",
    }[objective]


def estimate_words(estimate: Estimate) -> str:
    """A median with the interval that holds 95 of 100 outcomes."""
    return f"{_figure(estimate.median)} ({_figure(estimate.low)} to {_figure(estimate.high)})"


def _figure(value: float) -> str:
    """Three digits, and whole numbers from a thousand on."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _log_energy(energy: Estimate | None, caution: float) -> float | None:
    if energy is None:
        return None
    joules = energy.median + caution * (energy.high - energy.median)
    return log(joules) if joules > 0 else None


def _log_time(throughput: Estimate | None, caution: float) -> float | None:
    if throughput is None:
        return None
    tokens = throughput.median - caution * (throughput.median - throughput.low)
    return -log(tokens) if tokens > 0 else None
