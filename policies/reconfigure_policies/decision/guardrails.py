"""What no decision may break: targets stay inside the space, and a new core only where a knob needs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconfigure_policies.domain.configuration import (
    Configuration,
    ConfigurationOutsideSpace,
    ConfigurationSpace,
    KnobValue,
    Tier,
    format_value,
)
from reconfigure_policies.domain.decision import DecisionKind


@dataclass(frozen=True, slots=True)
class Move:
    """The way from one configuration to another, divided by tier.

    Attributes:
        origin: where it starts.
        target: where it ends: every knob of the space.
        hot, cold: the knobs that change, with their value in `target`.
    """

    origin: Configuration
    target: Configuration
    hot: Mapping[str, KnobValue]
    cold: Mapping[str, KnobValue]

    @property
    def kind(self) -> DecisionKind:
        """`keep` without changes, `adjust` if all are hot; one cold change makes it a `redeploy` of all."""
        if self.cold:
            return DecisionKind.REDEPLOY
        return DecisionKind.ADJUST if self.hot else DecisionKind.KEEP

    def __str__(self) -> str:
        return ", ".join(
            f"{name} from {_value(self.origin.get(name))} to {format_value(value)} ({tier})"
            for tier, changes in ((Tier.COLD, self.cold), (Tier.HOT, self.hot))
            for name, value in changes.items()
        )


def completed(space: ConfigurationSpace, enforced: Mapping[str, KnobValue]) -> Configuration:
    """The enforced values of the space's knobs; a knob that the engine does not report has its default.

    A host that was started before a knob was added to the space knows nothing of it, and must not be restarted
    only to learn it.
    """
    return space.default().with_changes({name: value for name, value in enforced.items() if name in space})


def move_between(space: ConfigurationSpace, enforced: Configuration, changes: Mapping[str, KnobValue]) -> Move:
    """The move that gives the named knobs their values and leaves all others as they are.

    Args:
        space: what is allowed.
        enforced: the configuration read back from the engine.
        changes: a full or partial assignment.

    Raises:
        ConfigurationOutsideSpace: with every fault in `changes` at once, or with every constraint that they would
            break; one that is broken already, by an engine that was started otherwise, forbids no way out.
    """
    space.check(changes)
    origin = completed(space, enforced)
    target = origin.with_changes(changes)
    broken_already = [constraint for constraint, _ in space.faults_of(origin)]
    faults = [fault for constraint, fault in space.faults_of(target) if constraint not in broken_already]
    if faults:
        raise ConfigurationOutsideSpace(faults)
    hot, cold = space.split(origin.changes_to(target))
    return Move(origin, target, hot, cold)


def _value(value: KnobValue | None) -> str:
    return "unset" if value is None else format_value(value)
