"""Objectives with an end: what they cover, and what comes back when they are over."""

from __future__ import annotations

from dataclasses import replace

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.history import ControllerState, CoveredObjective
from reconfigure_policies.domain.objective import Objective


def with_objective(
    state: ControllerState, objective: Objective, until: float | None, enforced: Configuration
) -> ControllerState:
    """The state with another objective in force.

    Args:
        state: what held so far.
        objective: what holds from now on.
        until: when it ends, wall-clock seconds. None replaces everything, also what would have come back.
        enforced: the configuration that the objective in force is left with.
    """
    if until is None:
        return replace(state, objective=objective, objective_until=None, covered=())
    covered = CoveredObjective(state.objective, state.objective_until, enforced)
    return replace(state, objective=objective, objective_until=until, covered=(*state.covered, covered))


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
    returning = state.covered[-1]
    state = replace(state, objective=returning.objective, objective_until=returning.until, covered=state.covered[:-1])
    return after_expiry(state, now) if is_over(state, now) else (state, returning.configuration)
