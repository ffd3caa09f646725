"""Trying a configuration to learn of it: inside a budget, with the SLO well in hand, the most to be won per joule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconfigure_policies.decision.guardrails import Move, move_between
from reconfigure_policies.decision.objectives import expectation
from reconfigure_policies.decision.own_changes import why_no_redeploy
from reconfigure_policies.decision.pareto import strained_by_configuration
from reconfigure_policies.decision.paying import SwitchCost
from reconfigure_policies.decision.service_level import broken_limit, most_of
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import ConfigurationSpace
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, Snapshot
from reconfigure_policies.domain.forecast import Forecast
from reconfigure_policies.domain.history import OwnChanges
from reconfigure_policies.domain.objective import Objective


@dataclass(frozen=True, slots=True)
class _Trial:
    """A candidate with what may be won by knowing it, a share of the present joules, and the joules it takes."""

    forecast: Forecast
    move: Move
    won: float
    cost_j: float


def explore(
    snapshot: Snapshot,
    present: Forecast,
    space: ConfigurationSpace,
    terms: DecisionTerms,
    own: OwnChanges,
    cost: SwitchCost,
) -> Decision | None:
    """A configuration worth trying now; None if there is none, or no room for it.

    Only under the energy objective, whose joules are both what may be won and what trying spends. The present
    configuration and the candidate must leave `exploration_headroom` of every latency at the busiest of the workload.
    A trial that needs a new core keeps to dwell and cap, as every redeploy does.

    Args:
        snapshot: with forecasts.
        present: of what is enforced.
        space: what is allowed.
        terms: budget and headroom, dwell and cap.
        own: what was spent and changed so far.
        cost: of a switch.
    """
    budget_j = terms.exploration_share * own.used_j - own.explored_j
    if budget_j <= 0 or snapshot.objective is not Objective.ENERGY or own.canary is not None:
        return None
    busiest, free = strained_by_configuration(snapshot), terms.exploration_headroom
    most_tps = most_of(busiest.values())

    def holds(forecast: Forecast, *, sure: bool) -> bool:
        judged = busiest[forecast.configuration]
        return broken_limit(judged, snapshot.slo, sure=sure, free=free, most_tps=most_tps) is None

    if not holds(present, sure=True):
        return None
    may_redeploy = why_no_redeploy(own, snapshot.at, terms, urgent=False) is None
    trials = [
        trial
        for trial in _trials(snapshot, present, space, terms, cost)
        if trial.cost_j <= budget_j
        and (may_redeploy or not trial.move.cold)
        and own.trusts(trial.forecast.configuration, snapshot.at)
        and holds(trial.forecast, sure=False)
    ]
    best = max(trials, key=lambda trial: trial.won / trial.cost_j, default=None)
    return None if best is None else _decision(best, budget_j, snapshot)


def _trials(
    snapshot: Snapshot, present: Forecast, space: ConfigurationSpace, terms: DecisionTerms, cost: SwitchCost
) -> Iterator[_Trial]:
    energy, context = present.energy_per_output_token_j, present.context
    if energy is None:
        return
    tokens_tps = context.arrival_rate_rps * context.output_tokens
    switch_j = cost.energy_j if cost.energy_j is not None else energy.median * tokens_tps * cost.duration_s
    for forecast in snapshot.forecasts:
        theirs = forecast.energy_per_output_token_j
        if theirs is None or forecast.feasibility < terms.min_feasibility:
            continue
        won = 1 - theirs.low / energy.median
        move = move_between(space, snapshot.enforced, forecast.configuration)
        if won <= terms.min_saving or theirs.relative_width <= terms.min_saving or not (move.hot or move.cold):
            continue
        watched_j = theirs.high * tokens_tps * terms.canary_s
        yield _Trial(forecast, move, won, watched_j + (2 * switch_j if move.cold else 0.0))


def _decision(trial: _Trial, budget_j: float, snapshot: Snapshot) -> Decision:
    reason = (
        f"Explore {trial.move}: {expectation(trial.forecast, snapshot.objective)}, which may save {trial.won:.0%}; "
        f"trying takes {trial.cost_j / 1000:.3g} kJ of the {budget_j / 1000:.3g} kJ that exploring may spend."
    )
    return Decision(
        DecisionKind.EXPLORE,
        reason,
        trial.move.target,
        dict(trial.move.hot),
        dict(trial.move.cold),
        author=Author.PLANNER,
        expected=trial.forecast.estimates,
    )
