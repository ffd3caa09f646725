"""Which windows are observations: the only ones that surrogates may learn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconfigure_policies.domain.workload import WorkloadWindow


@dataclass(frozen=True, slots=True)
class ObservationRules:
    """What a window must be to count.

    Attributes:
        window_s: its least duration.
        settle_s: how long the configuration must have been in force before it starts.
        min_requests: the least number of requests that finished in it and had begun under what served it.
    """

    window_s: float
    settle_s: float
    min_requests: int


def why_not_observed(window: WorkloadWindow, changes_s: Iterable[float], rules: ObservationRules) -> str | None:
    """Why the window is no observation, in one clause with its numbers; None if it is one.

    Args:
        window: a window of one host.
        changes_s: when configurations changed or cores were replaced, on the clock of `window.started_s`. Those after
            the window's end do not matter, nor those long before.
        rules: what is asked of it.
    """
    ended_s = window.started_s + window.duration_s
    latest_s = max((at_s for at_s in changes_s if at_s < ended_s), default=float("-inf"))
    if latest_s > window.started_s:
        return "the configuration changed within it"
    if window.started_s - latest_s < rules.settle_s:
        return (
            f"it started {window.started_s - latest_s:.1f} s after a change, before the {rules.settle_s:g} s to settle"
        )
    if window.duration_s < rules.window_s:
        return f"it lasted {window.duration_s:.1f} s of {rules.window_s:g} s"
    own = window.finished - window.inherited
    if own < rules.min_requests:
        besides = f" besides {window.inherited} inherited ones" if window.inherited else ""
        return f"{own} requests finished in it{besides}, of {rules.min_requests} needed"
    if window.dropped:
        return f"{window.dropped} of its requests were overwritten before they were read"
    return None


def is_observation(window: WorkloadWindow, changes_s: Iterable[float], rules: ObservationRules) -> bool:
    """Whether the window counts; see `why_not_observed`."""
    return why_not_observed(window, changes_s, rules) is None
