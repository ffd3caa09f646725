"""What an operator's intent means in the present state: one decision with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from reconfigure_policies.decision.guardrails import Move, completed, move_between
from reconfigure_policies.decision.objectives import expectation
from reconfigure_policies.decision.pareto import open_to_objective, rank
from reconfigure_policies.decision.standing_objectives import has_ended
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, KnobValue
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, Snapshot
from reconfigure_policies.domain.forecast import Forecast
from reconfigure_policies.domain.objective import IntentKind, Objective, OperatorIntent
from reconfigure_policies.domain.workload import WorkloadWindow

#: In the reason of a decision that the settings made, since forecasts could not.
BY_NAME = "by its name in config.yaml"


class IntentRefused(ValueError):
    """The intent makes no sense in the present state; the message says why and what to do."""


def decide(
    intent: OperatorIntent,
    snapshot: Snapshot,
    space: ConfigurationSpace,
    terms: DecisionTerms | None = None,
    trusts: Callable[[Configuration], bool] | None = None,
) -> Decision:
    """The decision that carries out an intent: `keep`, `adjust` (hot) or `redeploy` (cold).

    An objective takes the best candidate that is forecast to hold the SLO and is not reserved for others, and the
    configuration that `config.yaml` names for it where nothing was learned or none would hold it.

    Pausing stops what the daemon does by itself. An intent is the operator's own word and is carried out all the
    same; its reason says that the daemon is paused.

    Args:
        intent: what is asked.
        snapshot: with forecasts where there are any.
        space: what is allowed.
        terms: how forecasts are read; the defaults if they are left out.
        trusts: whether a configuration may be chosen on a forecast; any may without it.

    Raises:
        ConfigurationOutsideSpace: if the intent names knobs or values that are not allowed.
        IntentRefused: if it cannot be carried out, e.g. a rollback with nothing to go back to.
    """
    if intent.kind in (IntentKind.PAUSE, IntentKind.RESUME):
        return _only_noted(intent, snapshot, space)
    if intent.kind is IntentKind.OBJECTIVE and intent.objective is not None:
        open_to_it = open_to_objective(replace(snapshot, objective=intent.objective), space)
        snapshot = replace(open_to_it, objective=snapshot.objective)
    chosen = _learned(intent, snapshot, terms or DecisionTerms(), trusts)
    changes, purpose = _wanted(intent, snapshot, space) if chosen is None else (chosen[0].configuration, chosen[1])
    move = move_between(space, snapshot.enforced, {**snapshot.draining, **changes})
    reason = _reason(move, purpose, snapshot)
    expected = {} if chosen is None else chosen[0].estimates
    return Decision(move.kind, reason, move.target, dict(move.hot), dict(move.cold), intent, Author.OPERATOR, expected)


def _learned(
    intent: OperatorIntent,
    snapshot: Snapshot,
    terms: DecisionTerms,
    trusts: Callable[[Configuration], bool] | None,
) -> tuple[Forecast, str] | None:
    """The forecast of the best configuration for an objective, and the purpose in words; None where there is none."""
    if intent.kind is not IntentKind.OBJECTIVE or intent.objective is None or not snapshot.forecasts:
        return None
    ranking = rank(replace(snapshot, objective=intent.objective), terms, trusts)
    if ranking.best is None:
        return None
    forecast = ranking.best.forecast
    words = (
        f"for objective {intent.objective}, as {intent.source} asked: the best of {len(ranking.eligible)} candidates "
        f"that hold the SLO, with {expectation(forecast, intent.objective)}"
    )
    return forecast, words


def _wanted(
    intent: OperatorIntent, snapshot: Snapshot, space: ConfigurationSpace
) -> tuple[Mapping[str, KnobValue], str]:
    """The assignment that an intent asks for, and its purpose in words."""
    if intent.kind is IntentKind.ROLLBACK:
        return _previous(snapshot, space, intent.source)
    if intent.kind is IntentKind.OBJECTIVE:
        return _of_objective(intent, snapshot)
    if not intent.changes:
        raise IntentRefused("apply needs at least one KEY=VALUE; none was given")
    return intent.changes, f"as {intent.source} asked"


def _previous(snapshot: Snapshot, space: ConfigurationSpace, source: str) -> tuple[Configuration, str]:
    """The latest applied configuration that is not the present one; a second rollback thus undoes the first.

    What the governor did on its own is no configuration of anybody's, and nothing to go back to or from.
    """
    enforced = completed(space, snapshot.enforced)
    present = enforced if snapshot.asked is None else completed(space, snapshot.asked)
    for applied in reversed(snapshot.previous):
        configuration = completed(space, applied.configuration)
        if configuration != present:
            returns = applied.objective is not snapshot.objective and not has_ended(applied, snapshot.at)
            objective = f" and to objective {applied.objective}" if returns else ""
            return configuration, f"to go back to the previous configuration{objective}, as {source} asked"
    raise IntentRefused(
        f"there is nothing to roll back to: {enforced} is the only configuration applied so far; "
        "use `reconfigure apply KEY=VALUE` to name another"
    )


def _of_objective(intent: OperatorIntent, snapshot: Snapshot) -> tuple[Mapping[str, KnobValue], str]:
    objective = intent.objective
    if objective is None:
        raise IntentRefused("an objective intent must name its objective: energy, throughput or balanced")
    named = snapshot.named.get(objective)
    why_named = _why_named(snapshot, objective)
    if named is not None:
        return named, f"for objective {objective}, as {intent.source} asked{why_named}"
    if intent.changes:
        return intent.changes, f"to return to what held before the temporary objective, now that {objective} is back"
    raise IntentRefused(
        f"no configuration is named for objective {objective}{why_named}; add "
        f"`objectives: {{{objective}: {{KNOB: VALUE}}}}` to config.yaml and reload, or use "
        f"`reconfigure apply KEY=VALUE`; named are: "
        f"{', '.join(snapshot.named) or 'none'}"
    )


def _why_named(snapshot: Snapshot, objective: Objective) -> str:
    """Why the forecasts do not choose, where any were asked for."""
    if not snapshot.basis:
        return ""
    refusal = rank(replace(snapshot, objective=objective), DecisionTerms()).refusal
    return f", {BY_NAME}, since {refusal}" if refusal else ""


def _only_noted(intent: OperatorIntent, snapshot: Snapshot, space: ConfigurationSpace) -> Decision:
    enforced = completed(space, snapshot.enforced)
    pausing = intent.kind is IntentKind.PAUSE
    words = "Automatic changes are paused" if pausing else "Automatic changes go on"
    already = " already" if snapshot.paused == pausing else ""
    reason = f"{words}{already}, as {intent.source} asked; {enforced} stays."
    return Decision(DecisionKind.KEEP, reason, enforced, intent=intent, author=Author.OPERATOR)


def _reason(move: Move, purpose: str, snapshot: Snapshot) -> str:
    """One sentence: what, why, and the numbers of the last window."""
    paused = " although automatic changes are paused" if snapshot.paused else ""
    traffic = f"; {_traffic(snapshot.windows[-1])}" if snapshot.windows else ""
    if move.kind is DecisionKind.KEEP:
        return f"Keep {move.target}, {purpose}: it is enforced already{traffic}."
    verb = "Redeploy for" if move.kind is DecisionKind.REDEPLOY else "Adjust"
    return f"{verb} {move}, {purpose}{paused}{traffic}."


def _traffic(window: WorkloadWindow) -> str:
    power, energy = window.mean_power_w, window.energy_per_output_token_j
    watts = "" if power is None else f" at {power:.1f} W ({window.energy_source})"
    joules = "" if energy is None else f", {energy:.3g} J per output token"
    return (
        f"the last {window.duration_s:.0f} s saw {window.arrival_rate_rps:.2f} requests/s and "
        f"{window.output_throughput_tps:.1f} output tokens/s{watts}{joules}"
    )
