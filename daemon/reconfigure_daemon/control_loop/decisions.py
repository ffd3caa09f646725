"""From an intent to a decision, and from a decision to its outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.action_slot import ActionSlot
from reconfigure_daemon.control_loop.doubts import Doubts
from reconfigure_daemon.control_loop.execution import Execution
from reconfigure_daemon.control_loop.outlook import Outlook
from reconfigure_daemon.control_loop.snapshots import snapshot_of, space_and_enforced, standing_still, without
from reconfigure_daemon.control_loop.standing_orders import StandingOrders
from reconfigure_daemon.errors import RequestRefused
from reconfigure_daemon.ports import (
    ActionState,
    EngineHost,
    HostState,
    Journal,
    LoopMetrics,
    ProfileTraces,
    ProgressSink,
    SwitchMode,
    SwitchProgress,
    SwitchRequest,
)
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision import IntentRefused, Plan, decide, move_between, plan
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind, Snapshot
from reconfigure_policies.domain.history import DecisionRecord
from reconfigure_policies.domain.objective import IntentKind, OperatorIntent
from reconfigure_policies.domain.workload import WorkloadWindow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of an intent; `plan` is None for one that only pauses or resumes."""

    intent: OperatorIntent
    plan: Plan | None
    record: DecisionRecord


class Decisions:
    """Makes decisions and sees each one to its outcome, one action at a time.

    Attributes:
        latest: the latest decision, with its outcome once there is one.
        slot: the action that runs.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        clock: Clock,
        journal: Journal,
        orders: StandingOrders,
        execution: Execution,
        metrics: LoopMetrics,
        outlook: Outlook,
    ) -> None:
        self.latest: DecisionRecord | None = None
        self.slot = ActionSlot(clock)
        self._doubts = Doubts(journal, clock)
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._orders = orders
        self._execution = execution
        self._metrics = metrics
        self._outlook = outlook

    async def open(self) -> None:
        """Take up what an earlier controller left open."""
        await self._doubts.recall()
        self.latest = next(iter(await self._journal.decisions(1)), None)

    def note(self, intent: OperatorIntent, enforced: Configuration) -> Decision:
        """The decision of an intent that touches no engine: to pause or to resume."""
        snapshot = snapshot_of(self._settings(), self._orders.state, enforced, (), self._clock.wall())
        return self._decided(intent, snapshot)

    async def plan(self, intent: OperatorIntent, host: EngineHost) -> Plan:
        """What an intent would do and cost; nothing is changed."""
        state = await host.state()
        snapshot = await self._outlook.on(self._snapshot(state, ()), standing_still(self._settings(), state))
        return await self._planned(host, state, self._decided(intent, snapshot, state))

    async def act(
        self,
        intent: OperatorIntent,
        host: EngineHost,
        windows: tuple[WorkloadWindow, ...],
        on_progress: ProgressSink | None,
    ) -> Handled:
        """Decide, store, act, read back, store the outcome.

        Raises:
            ActionInProgress: if another action runs, here or in the engine host.
            RequestRefused, ConfigurationOutsideSpace: if the intent cannot be carried out; nothing was changed.
            EngineHostUnreachable: if the host does not answer before anything was changed.
        """
        since = self._clock.wall()
        with self.slot.taken(ActionState(kind="switch", since=since, phase="decide", detail=_words(intent))):
            state = await host.state()
            self.slot.refuse_during(state.action)
            snapshot = await self._outlook.on(self._snapshot(state, windows), standing_still(self._settings(), state))
            decision = self._decided(intent, snapshot, state)
            planned = await self._planned(host, state, decision)
            record = await self.record(decision, snapshot.enforced)
            if decision.kind is DecisionKind.KEEP:
                await self._orders.follow(record)
            else:
                record = await self._carry_out(host, record, on_progress)
            return Handled(intent, planned, record)

    async def change(self, decision: Decision, before: Configuration, host: EngineHost, detail: str) -> DecisionRecord:
        """Store a decision of the daemon's own, act, read back, store the outcome.

        Args:
            decision: any but `keep`.
            before: what is enforced.
            host: who acts.
            detail: who decided, for status.

        Raises:
            ActionInProgress: if another action runs; nothing was stored.
        """
        kind: Literal["hot", "switch"] = "hot" if decision.is_hot else "switch"
        with self.slot.taken(ActionState(kind=kind, since=self._clock.wall(), phase="decide", detail=detail)):
            return await self._carry_out(host, await self.record(decision, before), None)

    async def profile(self, seconds: float, host: EngineHost) -> ProfileTraces:
        """Record the serving core, as the one action that runs; nothing is decided or changed.

        Raises:
            ActionInProgress: if another action runs.
            RequestRefused: if the engine has no profiler.
        """
        since = self._clock.wall()
        with self.slot.taken(ActionState(kind="profile", since=since, phase="record", detail=f"for {seconds:g} s")):
            return await host.profile(seconds)

    async def record(self, decision: Decision, before: Configuration) -> DecisionRecord:
        """Store a decision before it acts, and say it once."""
        at = self._clock.wall()
        decision_id = await self._journal.record_decision(decision, at, before)
        log.info(decision.reason)
        if decision.intent is not None:
            self._metrics.observe_intent(decision.intent)
        self._metrics.observe_decision(decision, at)
        self.latest = DecisionRecord(decision_id, at, decision, before)
        return self.latest

    async def end(self, record: DecisionRecord, outcome: Outcome, mode: str | None = None) -> DecisionRecord:
        """A decision has come to its end, or to an unknown one: store it, and remember what it reached."""
        record = replace(record, outcome=outcome, outcome_at=self._clock.wall(), mode=mode)
        await self._journal.record_outcome(record.id, outcome, self._clock.wall(), mode)
        self._metrics.observe_outcome(record.decision, outcome, None if mode is None else SwitchMode(mode))
        level = logging.DEBUG if outcome.kind is OutcomeKind.APPLIED else logging.WARNING
        log.log(level, "decision %d ended as %s: %s", record.id, outcome.kind, outcome.detail)
        if self.latest is not None and self.latest.id == record.id:
            self.latest = record
        await self._orders.follow(record)
        return record

    async def settle(self, state: HostState) -> bool:
        """End what was in doubt and can be judged now; returns whether nothing is in doubt any more."""
        for record, outcome in self._doubts.settle(state, self._settings().switch.deadline_s):
            await self.end(record, outcome, record.mode)
        return not self._doubts

    async def _carry_out(
        self, host: EngineHost, record: DecisionRecord, on_progress: ProgressSink | None
    ) -> DecisionRecord:
        decision = record.decision
        self._doubts.note(record.id)
        self._show(kind="hot" if decision.is_hot else "switch", phase="act")
        before = record.enforced_before or decision.target
        try:
            outcome, mode = await self._execution.carry_out(host, decision, before, self._shown(on_progress))
        except Exception:
            self._doubts.add(record)  # a fault of ours; what the engine enforces decides how it ended
            raise
        record = await self.end(record, outcome, mode)
        if outcome.kind is OutcomeKind.UNKNOWN:
            self._doubts.add(record)
        return record

    def _decided(self, intent: OperatorIntent, snapshot: Snapshot, state: HostState | None = None) -> Decision:
        settings = self._settings()
        space = settings.configuration_space() if state is None else space_and_enforced(settings, state)[0]
        try:
            terms, own = settings.decision.to_domain(), self._orders.state.own
            possible = intent if state is None else _possible(intent, state.off_knobs)
            return decide(possible, snapshot, space, terms, lambda each: own.trusts(each, snapshot.at))
        except IntentRefused as refusal:
            raise RequestRefused(str(refusal)) from refusal

    async def _planned(self, host: EngineHost, state: HostState, decision: Decision) -> Plan:
        """The plan of a decision; how a switch would be done is the host's to say."""
        space, enforced = space_and_enforced(self._settings(), state)
        move = move_between(space, enforced, {**decision.cold, **decision.hot})
        if not move.cold:
            return plan(move, None, (), state.live_requests)
        mode = self._settings().switch.mode
        report = await host.switch(SwitchRequest(configuration=dict(decision.target), mode=mode, dry_run=True))
        return plan(move, report.mode, await self._journal.switch_measurements(), state.live_requests)

    def _snapshot(self, state: HostState, windows: tuple[WorkloadWindow, ...]) -> Snapshot:
        _, enforced = space_and_enforced(self._settings(), state)
        return snapshot_of(
            self._settings(), self._orders.state, enforced, windows, self._clock.wall(), state.target, state.off_knobs
        )

    def _shown(self, on_progress: ProgressSink | None) -> ProgressSink:
        def report(progress: SwitchProgress) -> None:
            self._show(phase=progress.phase)
            if on_progress is not None:
                on_progress(progress)

        return report

    def _show(self, **facts: str) -> None:
        """Let the slot tell what runs."""
        if self.slot.current is not None:
            self.slot.current = self.slot.current.model_copy(update=facts)


def _possible(intent: OperatorIntent, off: Mapping[str, str]) -> OperatorIntent:
    """The intent without knobs that are off, if they are not the very thing it asks for.

    Raises:
        RequestRefused: if they are.
    """
    if intent.kind is IntentKind.APPLY:
        for name in intent.changes:
            if name in off:
                raise RequestRefused(f"{name} is off: {off[name]}")
    return replace(intent, changes=without(intent.changes, off)) if off else intent


def _words(intent: OperatorIntent) -> str:
    changes = Configuration(intent.changes) if intent.kind is IntentKind.APPLY else ""
    return " ".join(str(part) for part in (intent.kind, intent.objective or "", changes, f"by {intent.source}") if part)
