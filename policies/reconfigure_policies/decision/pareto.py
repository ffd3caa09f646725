"""Which configuration the forecasts favour: the cheapest, by the objective, of those that hold the service level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from reconfigure_policies.decision.objectives import log_cost
from reconfigure_policies.decision.service_level import broken_limit, most_of
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace
from reconfigure_policies.domain.decision import Snapshot
from reconfigure_policies.domain.forecast import Forecast
from reconfigure_policies.domain.objective import ServiceLevelObjective


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


def rank(
    snapshot: Snapshot,
    terms: DecisionTerms,
    trusts: Callable[[Configuration], bool] | None = None,
    is_there: Callable[[Configuration], bool] | None = None,
) -> Ranking:
    """Order the candidates by the objective in force; of equally good ones the nearest to what is enforced is first.

    A candidate must boot with enough probability, hold the SLO by the upper ends of its intervals at the busiest of
    the workload, have been measured for what the objective counts, and not have fallen short lately. Where none holds
    it at the busiest, e.g. while the workload shifts or since little was measured, those may be chosen that hold it as
    the workload is, other cores than the present one only if they are as likely as not to hold it at the busiest, while
    there are such. While the load climbs, what likely holds it then comes before what holds it now.

    Args:
        snapshot: with forecasts.
        terms: the guardrails' numbers.
        trusts: whether a configuration may be chosen at all; anything may without it.
        is_there: whether it needs no other core than the present one; nothing is without it.
    """
    if not snapshot.forecasts:
        return Ranking((), f"nothing is learned yet ({snapshot.basis})" if snapshot.basis else "nothing is learned yet")
    usual = {forecast.configuration: forecast for forecast in snapshot.forecasts}
    strained = strained_by_configuration(snapshot)
    surely, likely, now = _Demand(strained, sure=True), _Demand(strained, sure=False), _Demand(usual, sure=True)
    steps = (  # what is asked of the present core, and of others
        ((surely,), (surely,)),
        ((likely,), (likely,)) if snapshot.climbs else ((now,), (now, likely)),
        ((now,), (now,)),
    )
    for there, elsewhere in steps:
        candidates = [
            _judged(each, there if is_there and is_there(each.configuration) else elsewhere, snapshot, terms, trusts)
            for each in usual.values()
        ]
        eligible = [each for each in candidates if isinstance(each, Ranked)]
        if eligible:
            return Ranking(tuple(sorted(eligible, key=lambda each: _order(each, snapshot.enforced))))
    return Ranking((), _refusal([each for each in candidates if isinstance(each, _Unfit)]))


def open_to_objective(snapshot: Snapshot, space: ConfigurationSpace) -> Snapshot:
    """The snapshot without forecasts of what is reserved for other objectives than the one in force."""
    if not any(knob.reserved for knob in space.knobs):  # thousands of candidates need not be looked through
        return snapshot
    return replace(
        snapshot,
        forecasts=tuple(f for f in snapshot.forecasts if space.is_open_to(f.configuration, snapshot.objective)),
        strained=tuple(f for f in snapshot.strained if space.is_open_to(f.configuration, snapshot.objective)),
    )


def strained_by_configuration(snapshot: Snapshot) -> Mapping[Configuration, Forecast]:
    """What each candidate does at the workload's busiest; at its usual where that was not asked."""
    usual = {forecast.configuration: forecast for forecast in snapshot.forecasts}
    return usual | {forecast.configuration: forecast for forecast in snapshot.strained}


@dataclass(frozen=True)  # without slots, since what all candidates give is asked for again and again
class _Demand:
    """The SLO under one workload.

    Attributes:
        forecasts: of every candidate, under it.
        sure: whether the upper ends of intervals must hold, or the medians.
    """

    forecasts: Mapping[Configuration, Forecast]
    sure: bool

    @cached_property
    def most_tps(self) -> float:
        return most_of(self.forecasts.values())

    def broken_by(self, configuration: Configuration, slo: ServiceLevelObjective) -> str | None:
        """See `broken_limit`."""
        return broken_limit(self.forecasts[configuration], slo, sure=self.sure, most_tps=self.most_tps)


@dataclass(frozen=True, slots=True)
class _Unfit:
    """A candidate that may not be chosen: the kind of reason, and an example in words."""

    why: str
    example: str


def _judged(
    usual: Forecast,
    demands: Iterable[_Demand],
    snapshot: Snapshot,
    terms: DecisionTerms,
    trusts: Callable[[Configuration], bool] | None,
) -> Ranked | _Unfit:
    cost = log_cost(usual, snapshot.objective, terms)
    limits = (demand.broken_by(usual.configuration, snapshot.slo) for demand in demands)
    broken = next((limit for limit in limits if limit is not None), None)
    if usual.feasibility < terms.min_feasibility:
        return _Unfit("a core would hardly boot", f"with probability {usual.feasibility:.2f}")
    if trusts is not None and not trusts(usual.configuration):
        return _Unfit("it fell short lately", str(usual.configuration))
    if broken is not None:
        return _Unfit("the SLO would not hold", f"{usual.configuration}: {broken}")
    if cost is None:
        return _Unfit("nothing was measured of what the objective counts", str(usual.configuration))
    return Ranked(usual, cost)


def _refusal(unfit: list[_Unfit]) -> str:
    counts = Counter(each.why for each in unfit)
    words = ", ".join(f"{why} for {count}" for why, count in counts.most_common())
    example = next(each.example for each in unfit if each.why == counts.most_common(1)[0][0])
    return f"none of {len(unfit)} candidates may be chosen: {words}, e.g. {example}"


def _order(ranked: Ranked, enforced: Configuration) -> tuple[float, int]:
    """By cost to a thousandth; what is as good as equal is ordered by how little it changes."""
    changes = sum(enforced.get(name) != value for name, value in ranked.forecast.configuration.items())
    return round(ranked.log_cost, 3), changes
