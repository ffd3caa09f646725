"""What holds until somebody says otherwise: objective, pause, target; stored with every change."""

from __future__ import annotations

from dataclasses import replace

from reconfigure_daemon.ports import Journal
from reconfigure_policies.decision import after_expiry, is_over, with_objective
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import DecisionKind, OutcomeKind
from reconfigure_policies.domain.history import ControllerState, DecisionRecord
from reconfigure_policies.domain.objective import IntentKind, Objective

#: Configurations that a rollback can look back on.
_PREVIOUS = 20


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
        """Stop automatic changes, or let them go on."""
        await self._keep(replace(self.state, paused=paused))

    async def found(self, enforced: Configuration) -> None:
        """An engine serves with this configuration, whoever set it: it is the target, and can be returned to."""
        await self._keep(_reached(self.state, enforced))

    async def follow(self, record: DecisionRecord) -> None:
        """A decision has ended: what it reached holds from now on.

        An operator's objective is in force only if its configuration was reached. The end of a temporary one is a
        fact of the calendar, however the change that followed from it went.
        """
        decision, state = record.decision, self.state
        acted = decision.kind is not DecisionKind.KEEP
        reached = not acted or (record.outcome is not None and record.outcome.kind is OutcomeKind.APPLIED)
        intent = decision.intent
        if intent is not None and intent.kind is IntentKind.OBJECTIVE and intent.objective is not None:
            if intent.source == "schedule":
                state = after_expiry(state, record.at)[0] if is_over(state, record.at) else state
            elif reached:
                before = record.enforced_before or decision.target
                state = with_objective(state, intent.objective, intent.expires_at, before)
        if acted and reached:
            state = _reached(state, decision.target)
        await self._keep(state)

    async def _keep(self, state: ControllerState) -> None:
        if state != self.state:
            self.state = state
            await self._journal.save_state(state)


def _reached(state: ControllerState, configuration: Configuration) -> ControllerState:
    previous = state.previous
    if not previous or previous[-1] != configuration:
        previous = (*previous, configuration)[-_PREVIOUS:]
    return replace(state, target=configuration, previous=previous)
