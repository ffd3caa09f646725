"""Tuning sessions: begun, watched, stopped."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from reconfigure_daemon.control_api.faults import in_words
from reconfigure_daemon.control_api.learning_views import forecast_view, measured_view
from reconfigure_daemon.control_api.tuning_messages import ResumeRequest, TriedView, TuningView
from reconfigure_daemon.control_loop import ControlLoop
from reconfigure_daemon.errors import RequestRefused
from reconfigure_daemon.tuning import Progress, TuneRequest, Tuning, front_of, growth

_Body = TypeVar("_Body", bound=BaseModel)


class TuningEndpoints:
    """One method per path."""

    def __init__(self, tuning: Tuning, loop: ControlLoop) -> None:
        self._tuning = tuning
        self._loop = loop

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.get("/v1/tune", self.show),
            web.post("/v1/tune", self.start),
            web.post("/v1/tune/resume", self.resume),
            web.post("/v1/tune/stop", self.stop),
        ]

    async def show(self, _: web.Request) -> web.Response:
        """The session that runs, or the last one since the daemon started."""
        if self._tuning.progress is None:
            raise RequestRefused("no tuning session has run since the daemon started; `reconfigure tune` begins one")
        return self._answer(self._tuning.progress)

    async def start(self, request: web.Request) -> web.Response:
        """Begin a session; it goes on by itself."""
        return self._answer(await self._tuning.start(_parsed(TuneRequest, await request.read())))

    async def resume(self, request: web.Request) -> web.Response:
        """Go on with the last one."""
        wanted = _parsed(ResumeRequest, await request.read() or b"{}")
        return self._answer(await self._tuning.resume(wanted.trials))

    async def stop(self, _: web.Request) -> web.Response:
        """End it; the configuration from before comes back."""
        return self._answer(await self._tuning.stop())

    def _answer(self, progress: Progress) -> web.Response:
        energy = self._loop.sampler.energy
        source = "unknown" if energy is None else energy.source.value
        return web.json_response(text=tuning_view(progress, source).model_dump_json())


def tuning_view(progress: Progress, energy_source: str) -> TuningView:
    """A session."""
    front, trials = set(front_of(progress.trials)), progress.trials
    before = len(progress.earlier)
    tried = [
        TriedView(number=place + 1, measured=measured_view(trial), by="earlier", on_front=place in front)
        for place, trial in enumerate(progress.earlier)
    ]
    for place, each in enumerate(progress.tried, start=before):
        expected = each.proposal.forecast
        tried.append(
            TriedView(
                number=place + 1,
                measured=measured_view(each.trial),
                by=each.proposal.by,
                expected=None if expected is None else forecast_view(expected),
                duration_s=each.duration_s,
                energy_j=each.energy_j,
                on_front=place in front,
            )
        )
    record = progress.record
    return TuningView(
        id=record.id,
        state=progress.state,
        phase=progress.phase,
        current=None if progress.current is None else dict(progress.current.configuration),
        wanted=progress.wanted,
        trials=tried,
        growth=growth(trials),
        context=record.context,
        restore=dict(record.restore),
        started_at=record.started_at,
        ended_at=record.ended_at,
        energy_j=progress.energy_j,
        energy_source=energy_source,
        outcome=record.outcome,
    )


def _parsed(form: type[_Body], body: bytes) -> _Body:
    try:
        return form.model_validate_json(body)
    except ValidationError as invalid:
        raise in_words(invalid) from invalid
