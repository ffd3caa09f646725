"""What the engine enforces against what was asked: a switch that did nothing must not look like success."""

from __future__ import annotations

from collections.abc import Mapping

from reconfigure_daemon.ports import HostState
from reconfigure_policies.domain.configuration import Configuration, KnobValue, format_value
from reconfigure_policies.domain.decision import Decision, OutcomeKind


def asked_of(decision: Decision) -> dict[str, KnobValue]:
    """What must be enforced afterwards: the hot changes, or with a new core every knob."""
    return dict(decision.hot if decision.is_hot else decision.target)


def unmet(decision: Decision, enforced: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """The knobs that are not as asked, with the value that was asked."""
    return {name: value for name, value in asked_of(decision).items() if enforced.get(name) != value}


def drains(decision: Decision, before: Configuration | None, state: HostState) -> bool:
    """Whether every unmet knob is a cap on its way down.

    A cap never falls below what already runs, so with live requests it may stay above its target, which the host
    keeps, until enough of them have finished.
    """
    if before is None or state.live_requests == 0:
        return False
    return all(
        name in decision.hot
        and state.target.get(name) == value
        and _between(value, state.enforced.get(name), before.get(name))
        for name, value in unmet(decision, state.enforced).items()
    )


def verdict(decision: Decision, before: Configuration | None, state: HostState) -> tuple[OutcomeKind, str]:
    """How a decision ended, judged only by what is enforced now; a knob that is off by now is not waited for."""
    missing = {name: value for name, value in unmet(decision, state.enforced).items() if name not in state.off_knobs}
    if not missing:
        return OutcomeKind.APPLIED, "the engine enforces the target"
    difference = _difference(missing, state.enforced)
    if drains(decision, before, state):
        return OutcomeKind.UNKNOWN, f"{difference}: it drains down while {state.live_requests} requests run"
    if before is not None and all(state.enforced.get(name) == before.get(name) for name in missing):
        return OutcomeKind.ROLLED_BACK, f"{difference}, as before"
    return OutcomeKind.FAILED, difference


def _difference(missing: Mapping[str, KnobValue], enforced: Mapping[str, KnobValue]) -> str:
    found = ", ".join(f"{name}={format_value(enforced[name]) if name in enforced else 'unset'}" for name in missing)
    asked = ", ".join(f"{name}={format_value(value)}" for name, value in missing.items())
    return f"the engine enforces {found} and not {asked}"


def _between(target: KnobValue, enforced: KnobValue | None, before: KnobValue | None) -> bool:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (target, enforced, before)):
        return False
    return target < enforced <= before  # type: ignore[operator]  # all three are numbers, checked above
