"""Decisions whose end nobody saw, settled by reading back what the engine enforces, never by trying again."""

from __future__ import annotations

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop.read_back import verdict
from reconfigure_daemon.ports import HostPhase, HostState, Journal
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.history import DecisionRecord

#: How far back an unknown outcome is looked for at start; older ones have been overtaken anyway.
_RECENT = 50


class Doubts:
    """What is in doubt: actions of a controller that was killed, commands whose answer was lost, caps that drain."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._open: dict[int, DecisionRecord] = {}
        self._latest_id = 0

    def __len__(self) -> int:
        return len(self._open)

    async def recall(self) -> None:
        """Take up what an earlier controller left open."""
        acting = [record for record in await self._journal.decisions(_RECENT) if _acts(record)]
        self._latest_id = max((record.id for record in acting), default=0)
        pending = await self._journal.pending_decisions()
        unknown = [record for record in acting if record.id == self._latest_id and _is_unknown(record)]
        self._open = {record.id: record for record in (*pending, *unknown)}

    def note(self, decision_id: int) -> None:
        """A decision acts: what is enforced says nothing of earlier ones any more."""
        self._latest_id = decision_id

    def add(self, record: DecisionRecord) -> None:
        """Take up a decision whose outcome is unknown."""
        self._open[record.id] = record

    def settle(self, state: HostState, drain_deadline_s: float) -> list[tuple[DecisionRecord, Outcome]]:
        """Judge what can be judged now, and let go of it.

        Only the latest decision can be judged; one that was overtaken stays unknown for good. While the host is
        busy, and while a cap drains within its deadline, the doubt stays.
        """
        if state.action is not None or state.phase is not HostPhase.SERVING:
            return []
        settled = []
        for record in list(self._open.values()):
            overtaken = record.id < self._latest_id
            outcome = self._overtaken(record) if overtaken else self._judged(record, state, drain_deadline_s)
            if outcome is not None:
                del self._open[record.id]
                settled.append((record, outcome))
        return settled

    def _judged(self, record: DecisionRecord, state: HostState, drain_deadline_s: float) -> Outcome | None:
        kind, detail = verdict(record.decision, record.enforced_before, state)
        age_s = max(0.0, self._clock.wall() - record.at)
        if kind is OutcomeKind.UNKNOWN:
            if age_s < drain_deadline_s:
                return None
            kind, detail = OutcomeKind.FAILED, f"after {age_s:.0f} s {detail}"
        return Outcome(kind, f"read back later: {detail}", Configuration(state.enforced), age_s)

    def _overtaken(self, record: DecisionRecord) -> Outcome:
        detail = "its end was not seen, and a later decision has overtaken it"
        return Outcome(OutcomeKind.UNKNOWN, detail, None, max(0.0, self._clock.wall() - record.at))


def _acts(record: DecisionRecord) -> bool:
    return record.decision.kind is not DecisionKind.KEEP


def _is_unknown(record: DecisionRecord) -> bool:
    return record.outcome is not None and record.outcome.kind is OutcomeKind.UNKNOWN
