"""Takes the engine from one trial's configuration to the next, and at the end back to where it was."""

from __future__ import annotations

from dataclasses import replace

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop import Decisions, Execution
from reconfigure_daemon.control_loop.read_back import verdict
from reconfigure_daemon.control_loop.snapshots import space_and_enforced
from reconfigure_daemon.ports import EngineHost, Journal, LoopMetrics, ProgressSink, SwitchMode
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision import move_between
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, Outcome, OutcomeKind

_LOOK_S = 0.2


class Moves:
    """Moves of a session that holds the action slot. Each is stored before it acts, with its reason.

    Standing orders do not follow: what an operator asked for still holds, and is what comes back.
    """

    def __init__(
        self, decisions: Decisions, execution: Execution, journal: Journal, metrics: LoopMetrics, clock: Clock
    ) -> None:
        self._decisions = decisions
        self._execution = execution
        self._journal = journal
        self._metrics = metrics
        self._clock = clock

    async def to(
        self, host: EngineHost, settings: Settings, target: Configuration, why: str, on_progress: ProgressSink | None
    ) -> Outcome | None:
        """The outcome of a move; None where nothing had to be changed.

        Raises:
            ConfigurationOutsideSpace: if the target breaks the space; nothing was changed.
            EngineHostUnreachable: if the engine does not answer before anything was changed.
        """
        space, enforced = space_and_enforced(settings, await host.state())
        move = move_between(space, enforced, target)
        if move.kind is DecisionKind.KEEP:
            return None
        verb = "Adjust" if move.kind is DecisionKind.ADJUST else "Redeploy for"
        decision = Decision(
            move.kind, f"{verb} {move}, {why}.", move.target, dict(move.hot), dict(move.cold), author=Author.OPERATOR
        )
        record = await self._decisions.record(decision, enforced)
        outcome, mode = await self._execution.carry_out(host, decision, enforced, on_progress)
        if decision.is_hot:
            outcome = await self._drained(host, settings, decision, enforced, outcome)
        await self._journal.record_outcome(record.id, outcome, self._clock.wall(), mode)
        self._metrics.observe_outcome(decision, outcome, None if mode is None else SwitchMode(mode))
        self._decisions.latest = replace(record, outcome=outcome, outcome_at=self._clock.wall(), mode=mode)
        return outcome

    async def _drained(
        self, host: EngineHost, settings: Settings, decision: Decision, before: Configuration, outcome: Outcome
    ) -> Outcome:
        """The outcome once the requests have ended that keep a cap above its target, or when they had time enough."""
        took_s, began_s = outcome.duration_s, self._clock.monotonic()
        while outcome.kind is OutcomeKind.UNKNOWN and outcome.duration_s - took_s < settings.switch.deadline_s:
            await self._clock.sleep(_LOOK_S)
            state = await host.state()
            kind, detail = verdict(decision, before, state)
            duration_s = took_s + self._clock.monotonic() - began_s
            outcome = replace(
                outcome, kind=kind, detail=detail, enforced=Configuration(state.enforced), duration_s=duration_s
            )
        return outcome


def has_failed(outcome: Outcome | None) -> bool:
    """Whether the engine does not run under what it was moved to."""
    return outcome is not None and outcome.kind is not OutcomeKind.APPLIED
