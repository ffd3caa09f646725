"""Starts, stops and resumes sessions, one at a time, and undoes what a session left behind that nobody ended."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import ExitStack
from dataclasses import replace

from reconfigure_daemon.errors import ReconfigureError, RequestRefused
from reconfigure_daemon.ports import ActionState, HostPhase, HostState, TuningRecord
from reconfigure_daemon.tuning.measuring import Offered
from reconfigure_daemon.tuning.progress import Progress
from reconfigure_daemon.tuning.request import TuneRequest
from reconfigure_daemon.tuning.session import RESTORES, Means, Session, effective_of
from reconfigure_daemon.tuning.workload import workload_of
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace
from reconfigure_policies.surrogate import Trial

log = logging.getLogger(__name__)

#: Windows of the store that a recorded workload is made of.
_RECORDED_WINDOWS = 500

#: An action that only sets hot knobs is over within this.
_PATIENCE_S = 5.0


class Tuning:
    """Sessions of one daemon. `run` must run for them to go on.

    A session holds the control loop's slot: governor and automatic decisions stand by, and operators are told what
    runs. Windows of its load are not kept as traffic.

    Attributes:
        progress: of the session that runs, or of the last one since the daemon started; None before the first.
    """

    def __init__(self, means: Means) -> None:
        self.progress: Progress | None = None
        self._means = means
        self._begun: asyncio.Queue[tuple[Session, ExitStack]] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None
        self._is_undone = False

    async def run(self) -> None:
        """Undo what an earlier controller left, then see sessions through until cancelled."""
        await self._undo_left_behind()
        self._is_undone = True
        while True:
            session, held = await self._begun.get()
            with held:
                self._running = asyncio.create_task(session.run())
                try:
                    await asyncio.shield(self._running)
                except asyncio.CancelledError:
                    log.warning("a tuning session is left as it stands; the next start restores the configuration")
                    session.is_abandoned = True
                    self._running.cancel()
                    await asyncio.gather(self._running, return_exceptions=True)
                    raise
                finally:
                    self._running = None
            session.progress.phase, session.progress.state = "", session.ended_as  # now the slot is free

    async def start(self, request: TuneRequest) -> Progress:
        """Begin a session.

        Raises:
            ActionInProgress: if another action runs, another session included.
            RequestRefused: if clients are being served, or nothing is known of joules or of a recorded workload.
            EngineHostUnreachable: if there is no engine.
        """
        windows = await self._means.trials.windows(_RECORDED_WINDOWS) if request.recorded else []
        workload_of(request, windows)  # so that a wrong request is refused before anything else
        state = await self._ready(request)
        context, lengths = workload_of(request, windows)
        space = self._means.settings().configuration_space()
        now = self._means.clock.wall()
        record = TuningRecord(
            id=f"{int(now * 1e6):015x}-{secrets.token_hex(4)}",
            started_at=now,
            request=request.model_copy(update={"lengths": list(lengths)}).model_dump(mode="json"),
            context=context,
            restore=effective_of(space, state),
        )
        return await self._begin(record, request.model_copy(update={"lengths": list(lengths)}))

    async def resume(self, trials: int | None = None) -> Progress:
        """Go on with the last session where it stopped, its trials kept.

        Args:
            trials: as many in all now; None for as many as it wanted.

        Raises:
            RequestRefused: if there is none, or nothing of it is left to do.
            ActionInProgress, EngineHostUnreachable: see `start`.
        """
        record = await self._means.trials.last_session()
        if record is None:
            raise RequestRefused("there is no session to resume; start one with `reconfigure tune --trace FILE`")
        request = TuneRequest.model_validate(record.request)
        if trials is not None:
            request = request.model_copy(update={"trials": trials})
        earlier = tuple(await self._means.trials.trials_of(record.id))
        if len(earlier) >= request.trials:
            raise RequestRefused(
                f"the last session has measured its {request.trials} trials; name more with --trials, or start another"
            )
        state = await self._ready(request)
        space = self._means.settings().configuration_space()
        record = replace(
            record,
            request=request.model_dump(mode="json"),
            restore=effective_of(space, state),
            ended_at=None,
            outcome="",
        )
        return await self._begin(record, request, earlier)

    async def stop(self) -> Progress:
        """End the session: its trial at once, a switch when it is done; the configuration from before comes back.

        Raises:
            RequestRefused: if none runs.
        """
        if self._running is None or self.progress is None or self.progress.state != "running":
            raise RequestRefused("no tuning session runs")
        if self.progress.phase != RESTORES:
            self._running.cancel()
        return self.progress

    async def _begin(self, record: TuningRecord, request: TuneRequest, earlier: tuple[Trial, ...] = ()) -> Progress:
        slo = self._means.settings().slo.to_domain()
        progress = Progress(record, request.trials, earlier=earlier)
        session = Session(self._means, progress, Offered(record.context, request.lengths, request, slo))
        held = ExitStack()
        detail = f"{request.trials} trials"
        slot = self._means.loop.decisions.slot
        action = ActionState(kind="tune", since=self._means.clock.wall(), phase="tune", detail=detail)
        held.enter_context(slot.taken(action))
        held.enter_context(self._means.loop.sampler.not_learning())
        await self._means.trials.save_session(record)
        self.progress = progress
        self._begun.put_nowait((session, held))
        return progress

    async def _ready(self, request: TuneRequest) -> HostState:
        """An engine that serves and has nothing else to do."""
        slot = self._means.loop.decisions.slot
        until_s = self._means.clock.monotonic() + _PATIENCE_S
        while self._means.clock.monotonic() < until_s:
            if self._is_undone and (slot.current is None or slot.current.kind != "hot"):
                break
            await self._means.clock.sleep(0.05)
        slot.refuse_during(slot.current)
        if not self._is_undone:
            raise RequestRefused(
                "an earlier session that nobody ended is being undone first; try again when `reconfigure status` shows "
                "nothing under way"
            )
        state = await self._means.loop.keeper.host.state()
        slot.refuse_during(state.action)
        if state.phase is not HostPhase.SERVING:
            raise RequestRefused(f"the engine is {state.phase}; try again when `reconfigure status` shows it serving")
        energy = self._means.loop.sampler.energy
        if energy is None or energy.source.value == "unknown":
            raise RequestRefused(
                "nothing is known of this machine's energy, which is one of the two objectives; see `notices` of "
                "`reconfigure status`"
            )
        if state.live_requests and not request.despite_traffic:
            raise RequestRefused(
                f"{state.live_requests} requests of clients are live, and would wait behind those of the trials; try "
                "again when it is quiet, or measure all the same with --despite-traffic"
            )
        return state

    async def _undo_left_behind(self) -> None:
        """A controller that was killed in a session has left a trial's configuration: what was before it comes back."""
        record = await self._means.trials.last_session()
        if record is None or record.ended_at is not None:
            return
        loop = self._means.loop
        while not self._is_quiet():  # the loop tells nobody when it is ready
            await self._means.clock.sleep(1.0)
        why = "back to what was enforced before a tuning session whose controller ended"
        try:
            with loop.decisions.slot.taken(
                ActionState(kind="switch", since=self._means.clock.wall(), phase="act", detail="after a tuning session")
            ):
                await self._means.moves.to(loop.keeper.host, self._means.settings(), record.restore, why, None)
            await loop.orders.found(record.restore)
        except (ReconfigureError, ConfigurationOutsideSpace) as fault:
            log.error("the configuration from before a tuning session was not restored: %s", fault)
        ended = replace(record, ended_at=self._means.clock.wall(), outcome="its controller ended; --resume goes on")
        await self._means.trials.save_session(ended)

    def _is_quiet(self) -> bool:
        """Whether the engine serves and nothing is done to it."""
        loop = self._means.loop
        state = loop.sampler.state
        return state is not None and state.phase is HostPhase.SERVING and loop.action is None
