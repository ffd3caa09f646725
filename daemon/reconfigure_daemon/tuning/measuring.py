"""One trial: a steady load at the workload's rate, then a saturated engine; by the engine's records and the meter."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.ports import (
    EnergyMeter,
    EngineHost,
    HostState,
    LoadSource,
    LoadTally,
    TelemetryBatch,
)
from reconfigure_daemon.tuning.request import TuneRequest
from reconfigure_daemon.tuning.rounds import NO_RECORDS, steady, whole_rounds
from reconfigure_daemon.tuning.workload import Lengths
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.energy import EnergyReading
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.parallelism import replicas_of
from reconfigure_policies.domain.workload import WorkloadWindow
from reconfigure_policies.surrogate import Measured, Quantity, Trial
from reconfigure_policies.surrogate.trials import measured_in, rate_relative_sd

_SAMPLE_S = 1.0

#: How often a flood is looked at while it has to end a round.
_LOOK_S = 0.1

#: A flood that is not in its steady state within so many windows' time is measured as it is.
_STEADY_WITHIN = 6

#: A window of it that holds no whole round after so many times its length ends without.
_WHOLE_WITHIN = 3

#: A saturated engine has as many requests as may run, in all of its replicas, and these waiting, so that no place is
#: ever empty.
_QUEUED_SHARE, _QUEUED_AT_LEAST = 0.25, 4

#: An engine that is left alone with what was cut off is idle within this, or is measured as it is.
_IDLE_WITHIN_S = 30.0


class Stretch(Protocol):
    """A window in the making; see `monitoring.partial_window`."""

    def extend(self, batch: TelemetryBatch, energy: EnergyReading | None) -> None:
        """Take in a batch."""

    def window(self) -> WorkloadWindow:
        """The window up to the last batch."""


Begin = Callable[[TelemetryBatch, EnergyReading | None, ServiceLevelObjective], Stretch]
Load = AbstractAsyncContextManager[LoadTally]


@dataclass(frozen=True, slots=True)
class Offered:
    """What every trial of a session offers."""

    context: WorkloadContext
    lengths: Lengths
    request: TuneRequest
    slo: ServiceLevelObjective


class NotServed(Exception):
    """The engine took no request of a trial, or finished none; the message is its own word."""


class Measuring:
    """Measures the configuration that is enforced.

    Args:
        meter: joules.
        load: sends requests.
        begin: starts a window.
        clock: time.
    """

    def __init__(self, meter: EnergyMeter, load: LoadSource, begin: Begin, clock: Clock) -> None:
        self._meter = meter
        self._load = load
        self._begin = begin
        self._clock = clock

    def energy_j(self) -> float:
        """Joules so far."""
        return self._meter.read().energy_j

    async def trial(self, host: EngineHost, configuration: Configuration, offered: Offered, seed: int) -> Trial:
        """Energy and latencies at the workload's rate, then throughput of the saturated engine.

        Args:
            host: enforces the configuration.
            configuration: every knob of the space.
            offered: the load.
            seed: another one for each trial, so that no prompt comes twice.

        Raises:
            NotServed: if it serves nothing under this configuration.
        """
        request, state = offered.request, await host.state()
        places = replicas_of(configuration) * int(configuration.get("max_num_seqs", 64))
        running = min(places, max(1, round(offered.context.arrival_rate_rps)))
        rate = self._load.offered(state, offered.lengths, offered.context.arrival_rate_rps, running, 2 * seed)
        at_rate = await self._at_rate(host, rate, request, offered.slo)
        at_once = places + max(_QUEUED_AT_LEAST, round(_QUEUED_SHARE * places))
        flood = self._load.offered(state, offered.lengths, None, at_once, 2 * seed + 1)
        saturated = await self._saturated(host, flood, at_once, request, offered.slo)
        await self._idle(host)
        measured = {**measured_in(at_rate), **_throughput(saturated)}
        return Trial(configuration, offered.context, self._clock.wall(), measured)

    async def _at_rate(
        self, host: EngineHost, load: Load, request: TuneRequest, slo: ServiceLevelObjective
    ) -> WorkloadWindow:
        """A window of a load that has settled."""
        async with load as tally:
            await self._clock.sleep(request.settle_s)
            watch = self._watch(host, await host.telemetry(NO_RECORDS), slo)
            await watch.go_on(request.window_s)
        return watch.served(tally)

    async def _saturated(
        self, host: EngineHost, flood: Load, at_once: int, request: TuneRequest, slo: ServiceLevelObjective
    ) -> WorkloadWindow:
        """Whole rounds of a full engine in its steady state."""
        before = (await host.telemetry(NO_RECORDS)).totals
        async with flood as tally:
            await self._clock.sleep(request.settle_s)
            start = await steady(host, before, at_once, tally, _STEADY_WITHIN * request.saturated_s, self._clock)
            _refuse_unserved(tally)
            watch = self._watch(host, start, slo)
            await watch.go_on(request.saturated_s)
            await watch.end_round((_WHOLE_WITHIN - 1) * request.saturated_s)
        return watch.served(tally)

    def _watch(self, host: EngineHost, start: TelemetryBatch, slo: ServiceLevelObjective) -> _Watch:
        return _Watch(host, start, self._begin(start, self._meter.read(), slo), self._meter, self._clock)

    async def _idle(self, host: EngineHost) -> HostState:
        """Wait until what was cut off is gone."""
        until_s = self._clock.monotonic() + _IDLE_WITHIN_S
        while (state := await host.state()).live_requests and self._clock.monotonic() < until_s:
            await self._clock.sleep(0.1)
        return state


class _Watch:
    """A window while it lasts."""

    def __init__(
        self, host: EngineHost, start: TelemetryBatch, stretch: Stretch, meter: EnergyMeter, clock: Clock
    ) -> None:
        self._host = host
        self._start = start.totals
        self._batch = start
        self._stretch = stretch
        self._meter = meter
        self._clock = clock

    async def go_on(self, seconds: float) -> None:
        """Let it last so long."""
        ends_s = self._clock.monotonic() + seconds
        while (left_s := ends_s - self._clock.monotonic()) > 0:
            await self._look(min(_SAMPLE_S, left_s))

    async def end_round(self, within_s: float) -> None:
        """Let it last until a round ends, but no longer than that."""
        latest_s = self._clock.monotonic() + within_s
        ended = whole_rounds(self._start, self._batch.totals)
        while whole_rounds(self._start, self._batch.totals) == ended and self._clock.monotonic() < latest_s:
            await self._look(_LOOK_S)

    def served(self, tally: LoadTally) -> WorkloadWindow:
        """The window.

        Raises:
            NotServed: if the engine took no request of the load, or generated nothing.
        """
        _refuse_unserved(tally)
        window = self._stretch.window()
        if not window.output_tokens:
            raise NotServed(f"it generated nothing in {window.duration_s:.1f} s of load")
        return window

    async def _look(self, after_s: float) -> None:
        await self._clock.sleep(after_s)
        self._batch = await self._host.telemetry(self._batch.next_after)
        self._stretch.extend(self._batch, self._meter.read())


def _refuse_unserved(tally: LoadTally) -> None:
    if tally.unserved:
        raise NotServed(f"all of its {tally.failed} requests failed: {tally.fault}")


def _throughput(window: WorkloadWindow) -> dict[Quantity, Measured]:
    return {Quantity.THROUGHPUT: Measured(window.output_throughput_tps, rate_relative_sd(window))}
