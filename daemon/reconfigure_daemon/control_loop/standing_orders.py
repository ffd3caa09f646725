"""What holds until somebody says otherwise: objective, pause, target; stored with every change."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from reconfigure_daemon.ports import Journal
from reconfigure_policies.decision import after_expiry, is_over, reached, rolled_back, with_objective
from reconfigure_policies.decision.own_changes import after_decision
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, OutcomeKind
from reconfigure_policies.domain.history import ControllerState, DecisionRecord, OwnChanges
from reconfigure_policies.domain.objective import IntentKind, Objective, OperatorIntent
from reconfigure_policies.domain.schedule import ScheduledSpan


class StandingOrders:
    """The controller's state, which a restart finds again.

    Attributes:
        state: as it is stored.
    """

    def __init__(self, journal: Journal, start_objective: Objective) -> None:
        self.state = ControllerState(start_objective)
        self._journal = journal

    async def load(self) -> None:
        """Take up what the last controller kept; a fresh store leaves the start as it is."""
        self.state = await self._journal.load_state() or self.state

    async def pause(self, paused: bool) -> None:
        """Stop automatic changes, or let them go on, also where an operator's own configuration stood in their way."""
        hands_off, pinned = (self.state.hands_off, self.state.pinned) if paused else (None, None)
        await self._keep(replace(self.state, paused=paused, hands_off=hands_off, pinned=pinned))

    async def found(self, enforced: Configuration, known: Collection[str] | None = None) -> None:
        """An engine serves with this configuration, whoever set it: it is the target, and can be returned to.

        But for the governor, whose knobs stand beside what was asked for. Knobs that came into the space or left it
        since do not make it another configuration; one that is off for now keeps what was asked of it.

        Args:
            enforced: of the knobs that can be moved.
            known: all knobs of the space, those that are off included; None if they are those of `enforced`.
        """
        state, names = self.state, set(enforced if known is None else known)
        governed = state.governed & names
        target = {name: value for name, value in (state.target or {}).items() if name in names}
        others = {name: value for name, value in enforced.items() if name not in governed}
        if state.target is None or any(value != target.get(name, value) for name, value in others.items()):
            await self._keep(replace(reached(state, enforced), governed=frozenset()))
            return
        asked = Configuration({**enforced, **target})
        state = state if asked == state.target else reached(state, asked)
        await self._keep(replace(state, governed=governed))

    async def govern(self, knobs: Collection[str]) -> None:
        """The governor is about to move these."""
        await self._keep(replace(self.state, governed=self.state.governed | set(knobs)))

    async def gave_back(self, knobs: Collection[str]) -> None:
        """These of the governor's knobs are as they were asked for."""
        await self._keep(replace(self.state, governed=self.state.governed - set(knobs)))

    async def remember(self, own: OwnChanges) -> None:
        """What the daemon has to remember of its own changes is another."""
        await self._keep(replace(self.state, own=own))

    async def hear(self, intent: OperatorIntent, governed: frozenset[str]) -> None:
        """An intent was carried out, or may yet be: whoever sets a knob wants it to stay until the next objective.

        Args:
            intent: what an operator asked for.
            governed: the governor's knobs.
        """
        state = self.state
        if intent.kind is IntentKind.ROLLBACK:
            state = replace(state, pinned=f"{intent.source} asked for a rollback")
        elif intent.kind is IntentKind.APPLY:
            state = replace(state, pinned=f"{intent.source} set {', '.join(sorted(intent.changes))}")
        elif intent.kind is IntentKind.OBJECTIVE:
            state = replace(state, pinned=None)
        named = sorted(governed & set(intent.changes))
        if intent.kind is IntentKind.OBJECTIVE:
            state = replace(state, hands_off=None)
        elif intent.kind is IntentKind.ROLLBACK:
            state = replace(state, hands_off=f"{intent.source} asked for a rollback")
        elif intent.kind is IntentKind.APPLY and named:
            hands_off = f"{intent.source} set {', '.join(named)}"
            state = replace(state, hands_off=hands_off, governed=state.governed - set(named))
        await self._keep(state)

    async def followed(self, span: ScheduledSpan) -> None:
        """The calendar has had its say with this span, however that went."""
        await self._keep(replace(self.state, scheduled=span))

    async def follow(self, record: DecisionRecord) -> None:
        """A decision has ended: what it reached holds from now on.

        An operator's objective is in force only if its configuration was reached, and a rollback from it brings back
        the one before. The end of a temporary one is a fact of the calendar, however the change that followed from it
        went. What the daemon adjusts by itself is the governor's, and changes nothing of what was asked for.
        """
        decision, state = record.decision, self.state
        record = _as_asked(record, state)
        acted = decision.kind is not DecisionKind.KEEP
        applied = not acted or (record.outcome is not None and record.outcome.kind is OutcomeKind.APPLIED)
        intent = decision.intent
        if intent is not None and intent.kind is IntentKind.OBJECTIVE and intent.objective is not None:
            if intent.source == "schedule":
                state = after_expiry(state, record.at)[0] if is_over(state, record.at) else state
            elif applied:
                before = state.target if state.governed else record.enforced_before
                if is_over(state, record.at):  # covering it would bring it back
                    state, before = after_expiry(state, record.at)
                state = with_objective(state, intent.objective, intent.expires_at, before or decision.target)
        elif intent is not None and intent.kind is IntentKind.ROLLBACK and applied:
            state = rolled_back(state, decision.target, record.at)
        moved_on = (
            bool(state.governed) and decision.target != state.target
        )  # to keep a governor's knob is to ask for it
        if applied and (acted or moved_on) and not _is_the_governors(decision):
            state = _asked(state, decision)
        elif state != self.state and state.target is not None:
            state = reached(state, state.target)  # what is enforced is under another objective from now on
        await self._keep(replace(state, own=after_decision(state.own, record)))

    async def _keep(self, state: ControllerState) -> None:
        if state != self.state:
            self.state = state
            await self._journal.save_state(state)


def _is_the_governors(decision: Decision) -> bool:
    """Whether nothing was asked for: what the governor moves, and what the daemon only notes."""
    return decision.author is Author.GOVERNOR or (decision.intent is None and decision.kind is DecisionKind.KEEP)


def _asked(state: ControllerState, decision: Decision) -> ControllerState:
    """With the decision's target, in which governed knobs that nobody named keep the value that was asked for."""
    governed: frozenset[str] = frozenset()
    intent, target = decision.intent, decision.target
    if intent is not None and intent.kind is IntentKind.APPLY and state.target is not None:
        governed = state.governed - set(intent.changes)
        target = target.with_changes({name: state.target[name] for name in governed if name in state.target})
    return replace(reached(state, target), governed=governed)


def _as_asked(record: DecisionRecord, state: ControllerState) -> DecisionRecord:
    """With what was asked for of the governor's knobs as what held before: that is what one goes back to."""
    before, target = record.enforced_before, state.target
    if before is None or target is None:
        return record
    asked = {name: target[name] for name in state.governed if name in target and name in before}
    return replace(record, enforced_before=before.with_changes(asked))
