"""What a policy may look at, gathered from settings, standing orders and the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconfigure_daemon.ports import HostState
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision import completed
from reconfigure_policies.domain.configuration import (
    Configuration,
    ConfigurationOutsideSpace,
    ConfigurationSpace,
    KnobValue,
    Tier,
)
from reconfigure_policies.domain.decision import Snapshot
from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.workload import WorkloadWindow


def space_and_enforced(settings: Settings, state: HostState) -> tuple[ConfigurationSpace, Configuration]:
    """The space, and the engine's place in it; a knob that is off is not in the space while it is."""
    space = settings.configuration_space().without(state.off_knobs)
    return space, completed(space, state.enforced)


def standing_still(settings: Settings, state: HostState) -> dict[str, KnobValue]:
    """Knobs that are off, with the default that they have meanwhile."""
    default = settings.configuration_space().default()
    return {name: default[name] for name in state.off_knobs if name in default}


def target_of(settings: Settings, standing: ControllerState) -> Configuration:
    """What the engine is meant to enforce.

    The last target, if the space still allows it; before there is any, the configuration of the objective in force;
    without one, every knob's default.
    """
    space = settings.configuration_space()
    if standing.target is not None and _allows(space, completed(space, standing.target)):
        return completed(space, standing.target)
    return settings.named_configurations().get(standing.objective, space.default())


def snapshot_of(
    settings: Settings,
    standing: ControllerState,
    enforced: Configuration,
    windows: tuple[WorkloadWindow, ...],
    at: float,
    asked: Mapping[str, KnobValue] | None = None,
    off: Collection[str] = (),
) -> Snapshot:
    """A snapshot at a wall-clock time.

    Args:
        settings: those in force.
        standing: what was ordered.
        enforced: what was read back.
        windows: recent ones, oldest first.
        at: wall-clock time.
        asked: what the engine host has taken as its target.
        off: knobs that cannot be moved now; named configurations go without them.
    """
    named = settings.named_configurations()
    return Snapshot(
        at=at,
        enforced=enforced,
        objective=standing.objective,
        slo=settings.slo.to_domain(),
        paused=standing.paused,
        windows=windows,
        previous=standing.previous,
        named={objective: without(configuration, off) for objective, configuration in named.items()},
        draining=_draining(settings.configuration_space(), enforced, asked or {}),
        asked=standing.target if standing.governed else None,
        objective_until=standing.objective_until,
    )


def without(configuration: Mapping[str, KnobValue], names: Collection[str]) -> Configuration:
    """A configuration that leaves some knobs as they are."""
    return Configuration({name: value for name, value in configuration.items() if name not in names})


def _allows(space: ConfigurationSpace, configuration: Configuration) -> bool:
    try:
        space.check(configuration)
    except ConfigurationOutsideSpace:
        return False
    return True


def _draining(
    space: ConfigurationSpace, enforced: Configuration, asked: Mapping[str, KnobValue]
) -> dict[str, KnobValue]:
    """Hot values that the engine has taken as its target and does not enforce yet."""
    hot = [knob for knob in space.knobs if knob.tier is Tier.HOT and knob.name in asked]
    return {
        knob.name: asked[knob.name]
        for knob in hot
        if knob.name in enforced and knob.allows(asked[knob.name]) and asked[knob.name] != enforced[knob.name]
    }
