"""What the slow loop does on an occasion and at a canary's end, whoever runs it: the daemon or a virtual one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconfigure_policies.change_detection import usual_context
from reconfigure_policies.decision.canary import Judgement, Verdict, judge
from reconfigure_policies.decision.own_changes import after_canary, free_at
from reconfigure_policies.decision.paying import switch_cost
from reconfigure_policies.decision.redeciding import after_canary_decision, redecide
from reconfigure_policies.decision.service_level import broken_limit, most_of
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.configuration import ConfigurationSpace
from reconfigure_policies.domain.decision import Decision, Snapshot
from reconfigure_policies.domain.forecast import Forecast, WorkloadContext
from reconfigure_policies.domain.history import Canary, OwnChanges, SwitchMeasurement
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import WorkloadWindow

#: From a load that climbs to a redeploy that has begun: a stretch of arrivals, forecasts, a look.
_NOTICED_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an occasion leads to.

    Attributes:
        decision: the change, or to keep still.
        again_at: when a redeploy may be made that dwell or cap hold back now, wall-clock seconds; None without one.
    """

    decision: Decision
    again_at: float | None


@dataclass(frozen=True, slots=True)
class CanaryEnd:
    """What a canary's end leads to.

    Attributes:
        decision: it is kept, or undone.
        own: without it.
        judgement: why.
    """

    decision: Decision
    own: OwnChanges
    judgement: Judgement


def answer(
    occasion: str,
    snapshot: Snapshot,
    space: ConfigurationSpace,
    terms: DecisionTerms,
    own: OwnChanges,
    past: Sequence[SwitchMeasurement],
) -> Answer:
    """Decide on an occasion; arguments as for `redecide`."""
    decision = redecide(occasion, snapshot, space, terms, own, past)
    freely = redecide(occasion, snapshot, space, terms, replace(own, redeploys_at=()), past)
    held_back = bool(freely.cold) and not decision.cold
    return Answer(decision, free_at(own, snapshot.at, terms) if held_back else None)


def look_ahead_s(past: Sequence[SwitchMeasurement], terms: DecisionTerms) -> float:
    """How far ahead a load that climbs has to be seen, so that a redeploy is over when it is needed."""
    return switch_cost(past, terms).duration_s + _NOTICED_S


def canary_context(
    canary: Canary, windows: Sequence[WorkloadWindow], slo: ServiceLevelObjective, terms: DecisionTerms
) -> WorkloadContext | None:
    """The workload that a canary has met and is to be judged under; None while it is watched.

    It may not be the one that the canary was chosen for, so that forecasts are asked for anew.

    Args:
        canary: what is watched.
        windows: complete ones since it was applied.
        slo: what requests must meet.
        terms: how long to watch.
    """
    if judge(canary, windows, canary.expected, slo, terms).verdict is Verdict.WATCHING:
        return None
    return usual_context(windows)


def end_canary(
    canary: Canary,
    windows: Sequence[WorkloadWindow],
    forecasts: tuple[Forecast | None, Forecast | None],
    snapshot: Snapshot,
    space: ConfigurationSpace,
    terms: DecisionTerms,
    own: OwnChanges,
) -> CanaryEnd:
    """Judge a canary that has a `canary_context`.

    Args:
        canary: what was watched.
        windows: complete ones since it was applied.
        forecasts: of it and of what was before, under that context; None where nothing is forecast.
        snapshot: with what is enforced.
        space: what is allowed.
        terms: how long what fell short is not trusted.
        own: with the canary.
    """
    there, before = forecasts
    judgement = judge(canary, windows, canary.expected if there is None else there.estimates, snapshot.slo, terms)
    no_way_back = None
    if before is not None:
        no_way_back = broken_limit(before, snapshot.slo, sure=False, most_tps=most_of(forecasts))
    decision = after_canary_decision(judgement, snapshot, space, own, no_way_back)
    stays = judgement.verdict is Verdict.HELD or no_way_back is not None
    return CanaryEnd(decision, after_canary(own, stays, snapshot.at, terms), judgement)
