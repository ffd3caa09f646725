"""What a policy may look at, gathered from settings, standing orders and the engine."""

from __future__ import annotations

from collections.abc import Mapping

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
    """The space, and the engine's place in it."""
    space = settings.configuration_space()
    return space, completed(space, state.enforced)


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
) -> Snapshot:
    """A snapshot at a wall-clock time; `asked` is what the engine host has taken as its target."""
    return Snapshot(
        at=at,
        enforced=enforced,
        objective=standing.objective,
        slo=settings.slo.to_domain(),
        paused=standing.paused,
        windows=windows,
        previous=standing.previous,
        named=settings.named_configurations(),
        draining=_draining(settings.configuration_space(), enforced, asked or {}),
        asked=standing.target if standing.governed else None,
    )


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
        if knob.allows(asked[knob.name]) and asked[knob.name] != enforced[knob.name]
    }
