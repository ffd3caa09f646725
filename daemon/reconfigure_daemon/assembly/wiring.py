"""Which object speaks to which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop import (
    ControlLoop,
    Decisions,
    EngineKeeper,
    Execution,
    Governing,
    Outlook,
    Redeciding,
    Sampler,
    StandingOrders,
)
from reconfigure_daemon.monitoring.observations import ObservationRules, is_observation
from reconfigure_daemon.monitoring.windows import WindowBuilder
from reconfigure_daemon.ports import EnergyMeter, EngineHost, EngineHostLauncher, Forecaster, Journal, LoopMetrics
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.workload import WorkloadWindow


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the control loop stands on; each can be another thing in a test.

    Attributes:
        settings: those in force.
        clock: time.
        journal: memory.
        meter: joules.
        metrics: what is made visible.
        launcher: finds, starts and restarts engine hosts.
        client: reaches whichever engine host answers; see `EngineKeeper`.
        forecaster: what configurations are expected to do; without one only named configurations are chosen.
    """

    settings: Callable[[], Settings]
    clock: Clock
    journal: Journal
    meter: EnergyMeter
    metrics: LoopMetrics
    launcher: EngineHostLauncher
    client: EngineHost | None = None
    forecaster: Forecaster | None = None


async def build_loop(around: Surroundings) -> ControlLoop:
    """The control loop, with what an earlier controller left taken up; no engine is touched yet."""
    settings, clock, journal, metrics = around.settings, around.clock, around.journal, around.metrics
    orders = StandingOrders(journal, settings().start_objective)
    await orders.load()
    execution = Execution(lambda: settings().switch, around.meter, clock)
    outlook = Outlook(around.forecaster)
    decisions = Decisions(
        settings=settings,
        clock=clock,
        journal=journal,
        orders=orders,
        execution=execution,
        metrics=metrics,
        outlook=outlook,
    )
    await decisions.open()
    sampler = Sampler(
        meter=around.meter,
        windows=window_builder(settings()),
        is_observation=_observation_rule(settings),
        settings=settings,
        journal=journal,
        metrics=metrics,
        clock=clock,
    )
    keeper = EngineKeeper(around.launcher, decisions, clock, sampler.saw, around.client)
    return ControlLoop(
        settings=settings,
        clock=clock,
        orders=orders,
        decisions=decisions,
        keeper=keeper,
        sampler=sampler,
        governing=Governing(settings, orders, sampler, decisions, clock),
        redeciding=Redeciding(settings, orders, sampler, decisions, outlook, journal, metrics, clock),
        metrics=metrics,
    )


def window_builder(settings: Settings) -> WindowBuilder:
    """Cuts telemetry as the settings say."""
    return WindowBuilder(settings.slo.to_domain(), settings.monitoring.window_s)


def _observation_rule(settings: Callable[[], Settings]) -> Callable[[WorkloadWindow, Sequence[float]], bool]:
    def counts(window: WorkloadWindow, changes_s: Sequence[float]) -> bool:
        monitoring = settings().monitoring
        rules = ObservationRules(monitoring.window_s, monitoring.settle_s, monitoring.observation_min_requests)
        return is_observation(window, changes_s, rules)

    return counts
