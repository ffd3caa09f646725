"""Which objective is in force: temporary ones and what they cover, and what a rollback brings back."""

from __future__ import annotations

from dataclasses import replace

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.objective import AppliedConfiguration, CoveredObjective, Objective

#: Configurations that a rollback can look back on.
_PREVIOUS = 20


def with_objective(
    state: ControllerState, objective: Objective, until: float | None, enforced: Configuration
) -> ControllerState:
    """The state with another objective in force.

    What is covered and ends no later than the new objective would only be passed by, and is forgotten: one that is
    renewed again and again covers no more than it did at first.

    Args:
        state: what held so far.
        objective: what holds from now on.
        until: when it ends, wall-clock seconds. None replaces everything, also what would have come back.
        enforced: the configuration that the objective in force is left with.
    """
    if until is None:
        return replace(state, objective=objective, objective_until=None, covered=())
    covered = CoveredObjective(state.objective, state.objective_until, enforced)
    left = tuple(each for each in (*state.covered, covered) if each.until is None or each.until > until)
    return replace(state, objective=objective, objective_until=until, covered=left)


def is_over(state: ControllerState, now: float) -> bool:
    """Whether the objective in force has come to its end."""
    return bool(state.covered) and state.objective_until is not None and state.objective_until <= now


def after_expiry(state: ControllerState, now: float) -> tuple[ControllerState, Configuration]:
    """The state after the end of the objective in force, and the configuration to return to.

    A covered objective that is over as well is passed by, so that nothing comes back that has ended.

    Args:
        state: one that `is_over`.
        now: wall-clock seconds since the epoch.
    """
    while True:
        *below, returning = state.covered
        state = replace(state, objective=returning.objective, objective_until=returning.until, covered=tuple(below))
        if not is_over(state, now):
            return state, returning.configuration


def reached(state: ControllerState, configuration: Configuration) -> ControllerState:
    """The state with a configuration that was reached under the objective in force, for later rollbacks."""
    applied = AppliedConfiguration(configuration, state.objective, state.objective_until, state.covered)
    earlier = state.previous
    if earlier and earlier[-1].configuration == configuration:
        earlier = earlier[:-1]
    return replace(state, target=configuration, previous=(*earlier, applied)[-_PREVIOUS:])


def rolled_back(state: ControllerState, configuration: Configuration, now: float) -> ControllerState:
    """The state with the objective that held, at the latest, under a configuration that was returned to.

    An objective whose end has passed meanwhile does not come back: the one in force stays.

    Args:
        state: what holds so far.
        configuration: what the rollback has reached; an older one in `state.previous` may name other knobs.
        now: wall-clock seconds since the epoch.
    """
    for applied in reversed(state.previous):
        if _agree(applied.configuration, configuration):
            if has_ended(applied, now):
                return state
            return replace(state, objective=applied.objective, objective_until=applied.until, covered=applied.covered)
    return state


def has_ended(applied: AppliedConfiguration, now: float) -> bool:
    """Whether the objective that a configuration was applied under has come to its end meanwhile."""
    return applied.until is not None and applied.until <= now


def _agree(one: Configuration, other: Configuration) -> bool:
    return all(one[name] == value for name, value in other.items() if name in one)
