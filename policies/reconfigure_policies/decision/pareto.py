"""Which configuration the forecasts favour: the cheapest, by the objective, of those that hold the service level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reconfigure_policies.decision.objectives import log_cost
from reconfigure_policies.decision.service_level import broken_limit, most_of
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace
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
    the workload, have been measured for what the objective counts, and not have fallen short lately. Where none holds
    it at the busiest, e.g. while the workload shifts, those may be chosen that hold it as the workload is; while the
    load climbs, those before them that are as likely as not to hold what it comes to.

    Args:
        snapshot: with forecasts.
        terms: the guardrails' numbers.
        trusts: whether a configuration may be chosen at all; anything may without it.
    """
    if not snapshot.forecasts:
        return Ranking((), f"nothing is learned yet ({snapshot.basis})" if snapshot.basis else "nothing is learned yet")
    usual = {forecast.configuration: forecast for forecast in snapshot.forecasts}
    strained = strained_by_configuration(snapshot)
    for judged, sure in ((strained, True), *(((strained, False),) if snapshot.climbs else ()), (usual, True)):
        most_tps = most_of(judged.values())
        candidates = [
            _judged(each, judged[each.configuration], snapshot, terms, trusts, sure=sure, most_tps=most_tps)
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


@dataclass(frozen=True, slots=True)
class _Unfit:
    """A candidate that may not be chosen: the kind of reason, and an example in words."""

    why: str
    example: str


def _judged(
    usual: Forecast,
    judged: Forecast,
    snapshot: Snapshot,
    terms: DecisionTerms,
    trusts: Callable[[Configuration], bool] | None,
    *,
    sure: bool,
    most_tps: float,
) -> Ranked | _Unfit:
    cost = log_cost(usual, snapshot.objective, terms)
    broken = broken_limit(judged, snapshot.slo, sure=sure, most_tps=most_tps)
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
