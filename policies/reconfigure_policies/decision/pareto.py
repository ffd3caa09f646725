"""Which configuration the forecasts favour: the cheapest, by the objective, of those that hold the service level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconfigure_policies.decision.objectives import log_cost
from reconfigure_policies.decision.service_level import broken_limit
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Snapshot
from reconfigure_policies.domain.forecast import Forecast


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate that may be chosen.

    Attributes:
        forecast: under the workload as it is.
        log_cost: see `objectives.log_cost`.
    """

    forecast: Forecast
    log_cost: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """All candidates that may be chosen, the best first.

    Attributes:
        eligible: never empty where `refusal` is None.
        refusal: why nothing may be chosen, as a clause with its numbers.
    """

    eligible: tuple[Ranked, ...]
    refusal: str | None = None

    @property
    def best(self) -> Ranked | None:
        """The first."""
        return self.eligible[0] if self.eligible else None


def rank(snapshot: Snapshot, terms: DecisionTerms, trusts: Callable[[Configuration], bool] | None = None) -> Ranking:
    """Order the candidates by the objective in force; of equally good ones the nearest to what is enforced is first.

    A candidate must boot with enough probability, hold the SLO by the upper ends of its intervals at the busiest of
    the workload, have been measured for what the objective counts, and not have fallen short lately.

    Args:
        snapshot: with forecasts.
        terms: the guardrails' numbers.
        trusts: whether a configuration may be chosen at all; anything may without it.
    """
    if not snapshot.forecasts:
        return Ranking((), f"nothing is learned yet ({snapshot.basis})" if snapshot.basis else "nothing is learned yet")
    busiest = strained_by_configuration(snapshot)
    eligible, out, nearest = [], Counter[str](), ""
    for forecast in snapshot.forecasts:
        cost = log_cost(forecast, snapshot.objective, terms)
        if cost is None:
            out["nothing was measured of what the objective counts"] += 1
            continue
        if forecast.feasibility < terms.min_feasibility:
            out["a core would hardly boot"] += 1
            continue
        if trusts is not None and not trusts(forecast.configuration):
            out["it fell short lately"] += 1
            continue
        broken = broken_limit(busiest[forecast.configuration], snapshot.slo)
        if broken is not None:
            out["the SLO would not hold"] += 1
            nearest = nearest or f", e.g. {forecast.configuration}: {broken}"
            continue
        eligible.append(Ranked(forecast, cost))
    if not eligible:
        words = ", ".join(f"{why} for {count}" for why, count in out.most_common())
        return Ranking((), f"none of {len(snapshot.forecasts)} candidates may be chosen: {words}{nearest}")
    return Ranking(tuple(sorted(eligible, key=lambda each: _order(each, snapshot.enforced))))


def _order(ranked: Ranked, enforced: Configuration) -> tuple[float, int]:
    """By cost to a thousandth; what is as good as equal is ordered by how little it changes."""
    changes = sum(enforced.get(name) != value for name, value in ranked.forecast.configuration.items())
    return round(ranked.log_cost, 3), changes


def strained_by_configuration(snapshot: Snapshot) -> Mapping[Configuration, Forecast]:
    """What each candidate does at the workload's busiest; at its usual where that was not asked."""
    usual = {forecast.configuration: forecast for forecast in snapshot.forecasts}
    return usual | {forecast.configuration: forecast for forecast in snapshot.strained}
