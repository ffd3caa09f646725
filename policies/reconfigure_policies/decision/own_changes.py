"""What the daemon remembers of its own changes, brought up to date by what happens."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from reconfigure_policies.decision.scheduled import CLOCK_TOLERANCE_S
from reconfigure_policies.decision.terms import DecisionTerms
from reconfigure_policies.domain.decision import Author, DecisionKind, OutcomeKind
from reconfigure_policies.domain.history import Canary, DecisionRecord, OwnChanges
from reconfigure_policies.domain.workload import WorkloadWindow

_HOUR_S = 3600.0

#: Redeploys and configurations that are remembered.
_MOST = 50


def after_decision(own: OwnChanges, record: DecisionRecord) -> OwnChanges:
    """A decision has ended: a redeploy that rests on a forecast is watched; any other change ends what was watched."""
    decision = record.decision
    applied = record.outcome is not None and record.outcome.kind is OutcomeKind.APPLIED
    if decision.kind is DecisionKind.KEEP or not applied or decision.author is Author.GOVERNOR:
        return own
    at = record.outcome_at or record.at
    if decision.author is Author.PLANNER and decision.cold:
        own = replace(own, redeploys_at=(*own.redeploys_at, at)[-_MOST:])
    watched = decision.kind is DecisionKind.EXPLORE or (decision.kind is DecisionKind.REDEPLOY and decision.expected)
    if not watched or record.enforced_before is None:
        return replace(own, canary=None)
    canary = Canary(
        record.id,
        at,
        decision.target,
        record.enforced_before,
        decision.expected,
        exploring=decision.kind is DecisionKind.EXPLORE,
    )
    return replace(own, canary=canary)


def after_window(own: OwnChanges, window: WorkloadWindow) -> OwnChanges:
    """A window has ended: its joules count towards the budget of exploring, or against it while exploring."""
    if window.energy_j is None:
        return own
    exploring = own.canary is not None and own.canary.exploring
    spent_j = window.energy_j if exploring else 0.0
    return replace(own, used_j=own.used_j + window.energy_j, explored_j=own.explored_j + spent_j)


def after_canary(own: OwnChanges, stays: bool, now: float, terms: DecisionTerms) -> OwnChanges:
    """A canary has ended: it stays, or is not chosen again for a while.

    Args:
        own: with the canary.
        stays: whether it held, or fell short where there is no way back, which says nothing against it.
        now: wall-clock seconds.
        terms: how long it is not trusted.
    """
    if own.canary is None:
        return own
    if stays:
        return replace(own, canary=None)
    configuration = own.canary.configuration
    still = tuple((each, until) for each, until in own.distrusted if until > now and each != configuration)
    distrusted = (*still, (configuration, now + terms.distrust_s))[-_MOST:]
    return replace(own, canary=None, distrusted=distrusted)


def free_at(own: OwnChanges, now: float, terms: DecisionTerms) -> float:
    """When dwell and cap let the daemon redeploy by itself; infinity if they never do."""
    most = _most_to_save(terms)
    if most == 0:
        return inf
    made_at = _redeploys_until(own, now)
    latest = made_at[-1] + terms.min_dwell_s if made_at else now
    capping = made_at[-most:]
    full = len(capping) == most
    return max(now, latest, capping[0] + _HOUR_S if full else now)


def why_no_redeploy(own: OwnChanges, now: float, terms: DecisionTerms, *, urgent: bool) -> str | None:
    """Why the daemon may not redeploy by itself now, as a clause; None if it may.

    Args:
        own: what was changed so far.
        now: wall-clock seconds.
        terms: dwell and cap.
        urgent: the SLO does not hold; the dwell is for savings, not for that.
    """
    made_at = _redeploys_until(own, now)
    if not urgent and made_at and now - made_at[-1] < terms.min_dwell_s:
        ago_s = max(0.0, now - made_at[-1])
        return f"the last redeploy was {ago_s:.0f} s ago, and each stays for {terms.min_dwell_s:g} s"
    lately = sum(1 for at in made_at if now - at < _HOUR_S)
    if lately >= terms.max_switches_per_hour:
        return f"{lately} redeploys were made in the last hour, of {terms.max_switches_per_hour} allowed"
    if not urgent and lately >= _most_to_save(terms):
        return (
            f"{lately} redeploys were made in the last hour, and the last of {terms.max_switches_per_hour} allowed is "
            "for when the SLO does not hold"
        )
    return None


def _most_to_save(terms: DecisionTerms) -> int:
    """Redeploys of an hour that may be for savings: all but one, without which there might be no way back from them."""
    return max(min(1, terms.max_switches_per_hour), terms.max_switches_per_hour - 1)


def _redeploys_until(own: OwnChanges, now: float) -> list[float]:
    """When redeploys were applied, latest last; those made while the clock was ahead lie in the future and are none."""
    return sorted(at for at in own.redeploys_at if at <= now + CLOCK_TOLERANCE_S)
