"""The workload as it was seen, and what configurations are forecast to do under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconfigure_daemon.ports import Forecaster
from reconfigure_policies.decision.watch import Watch, after_count, after_window, asked_for
from reconfigure_policies.domain.configuration import Configuration, KnobValue
from reconfigure_policies.domain.decision import Snapshot
from reconfigure_policies.domain.forecast import Forecast, WorkloadContext
from reconfigure_policies.domain.history import OwnChanges
from reconfigure_policies.domain.workload import IterationTotals, WorkloadWindow


class Outlook:
    """Sees windows, and asks for forecasts of what they show.

    Attributes:
        watch: what was seen.
        learned: whether there were forecasts when they were last asked for.
    """

    def __init__(self, forecaster: Forecaster | None) -> None:
        self.watch = Watch()
        self.learned = False
        self._forecaster = forecaster

    @property
    def exists(self) -> bool:
        """Whether anybody forecasts at all."""
        return self._forecaster is not None

    def describe(self) -> str:
        """What forecasts rest on, or why there are none."""
        return "nobody forecasts here" if self._forecaster is None else self._forecaster.describe()

    def look(self, windows: Iterable[WorkloadWindow], own: OwnChanges) -> bool:
        """Take in complete windows, oldest first; returns whether the workload shifted."""
        before = self.watch.shift
        for window in windows:
            self.watch = after_window(self.watch, window, own, detecting=self.learned)
        return self.watch.shift is not before

    def count(self, totals: IterationTotals, lead_s: float) -> None:
        """Take in the counter of arrivals; `lead_s` is what a change takes that is to be there in time."""
        self.watch = after_count(self.watch, totals.at_s, totals.arrived, lead_s, detecting=self.learned)

    async def on(self, snapshot: Snapshot, off: Mapping[str, KnobValue]) -> Snapshot:
        """The snapshot with forecasts under the workload as it is, and at its busiest; without, and why, else.

        Args:
            snapshot: without forecasts.
            off: knobs that cannot be moved now, and where they stand meanwhile.
        """
        if self._forecaster is None:
            return snapshot
        usual, busiest, climbs = self.watch.usual, self.watch.busiest, self.watch.climb is not None
        if usual is None or busiest is None:
            return replace(snapshot, basis="no traffic was seen to forecast for")
        self.watch = asked_for(self.watch, busiest)
        forecasts = await self._forecaster.forecasts(usual)
        strained = None if forecasts is None else await self._forecaster.forecasts(busiest)
        self.learned = forecasts is not None
        return replace(
            snapshot,
            forecasts=_without(forecasts or (), off),
            strained=_without(strained or (), off),
            climbs=climbs,
            basis=self.describe(),
        )

    async def of(
        self, configurations: Iterable[Configuration], context: WorkloadContext
    ) -> tuple[Forecast | None, ...]:
        """What is forecast of each of some configurations under a workload; None where nothing is."""
        forecasts = None if self._forecaster is None else await self._forecaster.forecasts(context)
        known = {each.configuration: each for each in forecasts or ()}
        return tuple(known.get(each) for each in configurations)


def _without(forecasts: tuple[Forecast, ...], off: Mapping[str, KnobValue]) -> tuple[Forecast, ...]:
    """Forecasts of the space that is left while some knobs stand still: of where these stand, without their names."""
    if not off:
        return forecasts
    return tuple(
        replace(each, configuration=Configuration({n: v for n, v in each.configuration.items() if n not in off}))
        for each in forecasts
        if all(each.configuration.get(name, value) == value for name, value in off.items())
    )
