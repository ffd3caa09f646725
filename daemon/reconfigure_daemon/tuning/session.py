"""One session from its first trial to the restored configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.control_loop import ControlLoop
from reconfigure_daemon.durations import format_duration
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_daemon.ports import HostState, Learner, SwitchProgress, TrialStore
from reconfigure_daemon.settings.model import Settings
from reconfigure_daemon.tuning.measuring import Measuring, NotServed, Offered
from reconfigure_daemon.tuning.moves import Moves, has_failed
from reconfigure_daemon.tuning.progress import Costs, Progress, Tried
from reconfigure_daemon.tuning.proposing import Proposal, Proposing
from reconfigure_policies.decision import completed
from reconfigure_policies.domain.configuration import Configuration, ConfigurationOutsideSpace, ConfigurationSpace
from reconfigure_policies.domain.decision import Outcome, OutcomeKind
from reconfigure_policies.surrogate import Surrogates, SurrogateUnavailable, Trial, trial_from_failed_boot

log = logging.getLogger(__name__)

End = Literal["finished", "stopped", "failed"]

#: What a session does last; it is not interrupted.
RESTORES = "restores the configuration from before"


@dataclass(frozen=True, slots=True)
class Means:
    """What a session works with.

    Attributes:
        loop: whose slot it holds; its sampler learns nothing from the session's load.
        settings: those in force.
        clock: time.
        trials: where trials are kept.
        learner: fits them.
        measuring: measures one.
        moves: changes the engine.
        proposing: chooses the next.
    """

    loop: ControlLoop
    settings: Callable[[], Settings]
    clock: Clock
    trials: TrialStore
    learner: Learner
    measuring: Measuring
    moves: Moves
    proposing: Proposing


class Session:
    """Runs until its trials or its budget are spent, everything was tried, or it is stopped.

    Attributes:
        progress: how far it is.
        ended_as: how, once `run` has returned; until somebody says so in `progress`, it counts as running.
        is_abandoned: whether whoever cancels it ends with it, so that the next start has to restore.
    """

    def __init__(self, means: Means, progress: Progress, offered: Offered) -> None:
        self.progress = progress
        self.is_abandoned = False
        self.ended_as: End = "failed"
        self._means = means
        self._offered = offered
        self._space = means.settings().configuration_space()
        self._candidates = tuple(self._space.enumerate())
        self._queue: list[Proposal] = []
        self._began_s = means.clock.monotonic()
        self._began_j = means.measuring.energy_j()

    async def run(self) -> None:
        """Try, restore, keep the end. A cancelled session ends its trial, never a switch, and is restored as well."""
        state: End = "failed"
        try:
            outcome = await self._try_all()
            state = "finished"
        except asyncio.CancelledError:
            if self.is_abandoned:
                raise
            state, outcome = "stopped", "stopped by the operator; `reconfigure tune --resume` goes on"
        except (ReconfigureError, ConfigurationOutsideSpace, SurrogateUnavailable) as fault:
            outcome = f"{fault}; `reconfigure tune --resume` goes on"
        self.progress.phase, self.progress.current = RESTORES, None
        problem = await self._restored()
        await self._end(state, outcome + problem)

    async def _try_all(self) -> str:
        why = self._why_to_end()
        while why is None:
            if not self._queue:
                self.progress.phase = "chooses what to try next"
                self._queue = await self._proposed()
            if not self._queue:
                return f"all {len(self._candidates)} candidates were tried"
            await self._try(self._queue.pop(0))
            why = self._why_to_end()
        return why

    def _why_to_end(self) -> str | None:
        """Judged before a trial, so that no budget is exceeded by more than the one under way."""
        request, progress = self._offered.request, self.progress
        spent_s = self._means.clock.monotonic() - self._began_s
        progress.energy_j = self._means.measuring.energy_j() - self._began_j
        if len(progress.trials) >= request.trials:
            return f"{request.trials} trials were measured"
        if request.budget_s is not None and spent_s >= request.budget_s:
            return f"the budget of {format_duration(request.budget_s)} is spent"
        if request.budget_j is not None and progress.energy_j >= request.budget_j:
            return f"the budget of {request.budget_j:.0f} J is spent"
        return None

    async def _proposed(self) -> list[Proposal]:
        """The rest of the first design; then what the surrogates suggest, or more of the design while they cannot."""
        tried, enforced = self.progress.configurations, await self._enforced()
        request, settings = self._offered.request, self._means.settings()
        count = min(request.trials, settings.learning.min_trials)
        proposing = self._means.proposing
        if len(self.progress.trials) < count:
            start = self.progress.record.restore
            first = proposing.first(start, self._candidates, self._space, count, request.seed)
            left = [each for each in first if each.configuration not in tried]
            if left:
                return left
        surrogates = await self._means.learner.fitted(fresh=True)
        if surrogates is None:
            seed = request.seed + len(self.progress.trials)
            more = proposing.first(enforced, self._candidates, self._space, count, seed)
            return [each for each in more if each.configuration not in tried]
        return await self._suggested(surrogates, tried, enforced)

    async def _suggested(
        self, surrogates: Surrogates, tried: set[Configuration], enforced: Configuration
    ) -> list[Proposal]:
        request, space = self._offered.request, self._space
        trial_s = 2 * request.settle_s + request.window_s + request.saturated_s
        costs = Costs.of(self.progress.tried, trial_s, self._means.settings().decision.assumed_switch_s)

        def cost_j(before: Configuration, after: Configuration) -> float:
            boots = space.cold_part(before) != space.cold_part(after)
            return costs.trial_j + (costs.boot_j if boots else 0.0)

        def choose() -> list[Proposal]:
            return self._means.proposing.next(
                surrogates, self._candidates, space, self._offered.context, self._offered.slo, cost_j, enforced,
                tried=tried, continuous=request.space == "continuous", seed=request.seed + len(tried),
            )  # fmt: skip

        return await self._means.learner.computed(choose)

    async def _try(self, proposal: Proposal) -> None:
        number = len(self.progress.trials) + 1
        self.progress.current, self.progress.phase = proposal, "moves"
        began_s, began_j = self._means.clock.monotonic(), self._means.measuring.energy_j()
        before = await self._enforced()
        why = f"trial {number} of {self._offered.request.trials}: {proposal.reason}"
        outcome = await self._move(proposal.configuration, why)
        moved_cold = self._space.cold_part(before) != self._space.cold_part(proposal.configuration)
        if has_failed(outcome) and outcome is not None:
            if not moved_cold or outcome.kind is OutcomeKind.UNKNOWN:
                raise TrialNotReached(f"{proposal.configuration} was not reached: {outcome.detail}")
            trial = self._infeasible(proposal, outcome.detail)
        else:
            self.progress.phase = "measures"
            trial = await self._measured(proposal, number)
        duration_s = self._means.clock.monotonic() - began_s
        energy_j = self._means.measuring.energy_j() - began_j
        self.progress.tried.append(Tried(trial, proposal, duration_s, energy_j, moved_cold))
        await self._keep(trial)

    async def _measured(self, proposal: Proposal, number: int) -> Trial:
        host, seed = self._means.loop.keeper.host, self._offered.request.seed * 100_000 + number
        try:
            return await self._means.measuring.trial(host, proposal.configuration, self._offered, seed)
        except NotServed as reason:
            return self._infeasible(proposal, str(reason))

    def _infeasible(self, proposal: Proposal, reason: str) -> Trial:
        at = self._means.clock.wall()
        return trial_from_failed_boot(proposal.configuration, self._offered.context, at, reason)

    async def _keep(self, trial: Trial) -> None:
        served, record = self._means.learner.served(), self.progress.record
        if served is not None:
            await self._means.trials.record_trials(served, [trial], "tune", record.id)
        self.progress.record = replace(record, trials=len(self.progress.trials))
        await self._means.trials.save_session(self.progress.record)

    async def _move(self, target: Configuration, why: str) -> Outcome | None:
        """A switch that has begun is seen to its end, also when the session is stopped meanwhile."""
        host, settings = self._means.loop.keeper.host, self._means.settings()
        work = asyncio.ensure_future(self._means.moves.to(host, settings, target, why, self._show))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            with suppress(ReconfigureError):
                await work
            raise

    def _show(self, progress: SwitchProgress) -> None:
        self.progress.phase = f"{progress.phase}: {progress.detail}" if progress.detail else progress.phase

    async def _restored(self) -> str:
        """Go back to what was enforced before; what goes wrong with it, in words to append, else nothing."""
        target = self.progress.record.restore
        try:
            outcome = await self._move(target, "back to what was enforced before the session")
        except (ReconfigureError, ConfigurationOutsideSpace) as fault:
            problem = str(fault)
        else:
            if not has_failed(outcome):
                return ""
            problem = outcome.detail if outcome is not None else ""
        log.error("the configuration from before the session was not restored: %s", problem)
        return f". {target} was not restored ({problem}); set it with `reconfigure apply`"

    async def _end(self, state: End, outcome: str) -> None:
        progress = self.progress
        progress.record = replace(progress.record, ended_at=self._means.clock.wall(), outcome=outcome)
        log.info("tuning %s after %d trials: %s", state, len(progress.trials), outcome)
        await self._means.trials.save_session(progress.record)
        await self._means.learner.fitted(fresh=True)
        self.ended_as = state

    async def _enforced(self) -> Configuration:
        return effective_of(self._space, await self._means.loop.keeper.host.state())


class TrialNotReached(ReconfigureError):
    """The engine did not take what a trial asked for, and it is not known to be the configuration's fault."""

    kind = "trial_not_reached"
    status = 502


def effective_of(space: ConfigurationSpace, state: HostState) -> Configuration:
    """What an engine enforces, each effect under one name."""
    return space.effective(completed(space, state.enforced))
