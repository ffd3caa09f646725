"""Carries out one decision on an engine host, and believes only what it reads back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.read_back import verdict
from reconfigure_daemon.errors import EngineHostUnreachable, ReconfigureError
from reconfigure_daemon.ports import (
    EnergyMeter,
    EngineHost,
    HostState,
    ProgressSink,
    SwitchReport,
    SwitchRequest,
)
from reconfigure_daemon.settings.model import SwitchSettings
from reconfigure_policies.domain.configuration import Configuration, ConfigurationOutsideSpace
from reconfigure_policies.domain.decision import Decision, Outcome, OutcomeKind
from reconfigure_policies.domain.energy import EnergyReading, EnergySource


@dataclass(frozen=True, slots=True)
class Execution:
    """Acts, reads back, and measures what it took.

    Attributes:
        switch: how a cold switch is done, asked anew each time.
        meter: joules of an action.
        clock: its duration.
    """

    switch: Callable[[], SwitchSettings]
    meter: EnergyMeter
    clock: Clock

    async def carry_out(
        self, host: EngineHost, decision: Decision, before: Configuration, on_progress: ProgressSink | None
    ) -> tuple[Outcome, str | None]:
        """The outcome of a change, and the mode of its cold part.

        Whatever the host reports is checked against what it enforces afterwards. If it cannot be asked any more the
        outcome is `unknown`: only reading back can tell, and trying again might switch twice.
        """
        started_s, energy = self.clock.monotonic(), self.meter.read()
        try:
            outcome, mode = await self._act(host, decision, before, on_progress)
        except EngineHostUnreachable as lost:
            outcome, mode = Outcome(OutcomeKind.UNKNOWN, str(lost), None, 0.0), None
        except (ReconfigureError, ConfigurationOutsideSpace) as refusal:
            outcome, mode = await self._refused(host, refusal), None
        measured = {**outcome.measurements, **_energy_between(energy, self.meter.read())}
        return replace(outcome, duration_s=self.clock.monotonic() - started_s, measurements=measured), mode

    async def _act(
        self, host: EngineHost, decision: Decision, before: Configuration, on_progress: ProgressSink | None
    ) -> tuple[Outcome, str | None]:
        if decision.is_hot:
            return await self._adjust(host, decision, before), None
        switch = self.switch()
        request = SwitchRequest(
            configuration=dict(decision.target), mode=switch.mode, deadline_s=switch.deadline_s, inexact=switch.inexact
        )
        report = await host.switch(request, on_progress)
        return _judged_switch(decision, before, report, await host.state()), report.mode

    async def _adjust(self, host: EngineHost, decision: Decision, before: Configuration) -> Outcome:
        """Set hot knobs; if the engine does not follow, set them back."""
        result = await host.set_knobs(decision.hot)
        state = await host.state()
        kind, detail = verdict(decision, before, state)
        if kind in (OutcomeKind.FAILED, OutcomeKind.ROLLED_BACK):
            detail += "; the hot knobs were set back"
            await host.set_knobs({name: before[name] for name in decision.hot})
            state = await host.state()
            restored = all(state.enforced.get(name) == before[name] for name in decision.hot)
            kind = OutcomeKind.ROLLED_BACK if restored else OutcomeKind.FAILED
        return Outcome(kind, detail, _enforced(state), 0.0, {"latency_s": result.latency_s})

    async def _refused(self, host: EngineHost, refusal: Exception) -> Outcome:
        """The host said no in its own words; what it enforces now is still worth knowing."""
        try:
            enforced = _enforced(await host.state())
        except ReconfigureError:
            enforced = None
        return Outcome(OutcomeKind.FAILED, str(refusal), enforced, 0.0)


def _judged_switch(decision: Decision, before: Configuration, report: SwitchReport, state: HostState) -> Outcome:
    """The host's report, overruled by what is read back where the two disagree."""
    kind, detail = OutcomeKind(report.outcome), report.detail
    if kind is OutcomeKind.APPLIED:
        found, difference = verdict(decision, before, state)
        if found is not OutcomeKind.APPLIED:
            # A core that came back with its old values was reported as switched: that is a failure, not a rollback.
            kind = OutcomeKind.FAILED if found is OutcomeKind.ROLLED_BACK else found
            detail = f"the engine host reported success, but {difference}"
    return Outcome(kind, detail, _enforced(state), 0.0, _measurements(report))


def _measurements(report: SwitchReport) -> dict[str, float]:
    stalls = dict(zip(("stall_p50_s", "stall_p95_s", "stall_max_s"), report.stall_s, strict=False))
    counts = {
        "live_requests": float(report.live_requests),
        "replayed_tokens": float(report.replayed_tokens),
        "inexact_requests": float(report.inexact_requests),
    }
    return {**counts, **stalls, **{f"{phase}_s": seconds for phase, seconds in report.phases_s.items()}}


def _energy_between(before: EnergyReading, after: EnergyReading) -> Mapping[str, float]:
    """Joules of all devices during an action, marked where they are only an estimate; nothing where unknown."""
    if after.source is EnergySource.UNKNOWN:
        return {}
    joules = {"energy_j": after.energy_j - before.energy_j}
    return {**joules, "energy_estimated": 1.0} if after.source is EnergySource.ESTIMATED else joules


def _enforced(state: HostState) -> Configuration:
    return Configuration(state.enforced)
