"""What a policy may look at, gathered from settings, standing orders and the engine."""

from __future__ import annotations

from collections.abc import Mapping

from reconfigure_daemon.ports import HostState
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision import completed
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, KnobValue, Tier
from reconfigure_policies.domain.decision import Snapshot
from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.workload import WorkloadWindow


def space_and_enforced(settings: Settings, state: HostState) -> tuple[ConfigurationSpace, Configuration]:
    """The space, and the engine's place in it."""
    space = settings.configuration_space()
    return space, completed(space, state.enforced)


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
    )


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
