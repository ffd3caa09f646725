"""What was learned: shown, explained, handed on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError

from reconfigure_daemon.control_api.connections import lines_of
from reconfigure_daemon.control_api.learning_messages import (
    TRIALS_VERSION,
    ExplanationView,
    ImportResult,
    ParetoView,
    TrialLine,
    TrialsHeader,
)
from reconfigure_daemon.control_api.learning_views import (
    explanation_view,
    forecast_view,
    measured_of,
    surrogate_view,
    trial_line,
    warnings,
    with_both_objectives,
)
from reconfigure_daemon.control_loop import ControlLoop
from reconfigure_daemon.errors import RequestInvalid, RequestRefused
from reconfigure_daemon.ports import Learner, Served, TrialStore
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.decision import completed
from reconfigure_policies.decision.explanation import explained
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import Forecast, WorkloadContext
from reconfigure_policies.surrogate import Trial, pareto_front
from reconfigure_policies.surrogate.trials import context_of

NDJSON = "application/x-ndjson"

#: Trials that are shown or handed on at once, the newest.
_MOST_TRIALS = 20_000
_SHOWN_TRIALS = 500


@dataclass(frozen=True, slots=True)
class Learned:
    """What the endpoints speak for.

    Attributes:
        learner: the surrogates.
        trials: what they learn from.
        settings: those in force.
    """

    learner: Learner
    trials: TrialStore
    settings: Callable[[], Settings]


class LearningEndpoints:
    """One method per path."""

    def __init__(self, learned: Learned, loop: ControlLoop) -> None:
        self._learner = learned.learner
        self._trials = learned.trials
        self._settings = learned.settings
        self._loop = loop

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.get("/v1/pareto", self.pareto),
            web.get("/v1/explanation", self.explanation),
            web.get("/v1/surrogate", self.surrogate),
            web.get("/v1/trials", self.export),
            web.post("/v1/trials", self.take_in),
        ]

    async def pareto(self, _: web.Request) -> web.Response:
        """The front for the workload as it is."""
        context, forecasts = await self._expectations()
        served = self._served()
        measured = await self._trials.trials(served, _SHOWN_TRIALS)
        enforced = self._enforced()
        own = next((each for each in forecasts if each.configuration == enforced), None)
        report = await self._learner.report()
        energy = self._loop.sampler.energy
        view = ParetoView(
            context=context,
            basis=report.basis,
            warnings=warnings(report),
            front=[forecast_view(each) for each in pareto_front([f for f in forecasts if f.feasibility >= 0.5])],
            enforced=None if own is None else forecast_view(own),
            measured=with_both_objectives(measured),
            energy_source="unknown" if energy is None else energy.source.value,
            candidates=len(forecasts),
        )
        return _answer(view)

    async def explanation(self, _: web.Request) -> web.Response:
        """Why what is enforced is so, as far as was learned."""
        try:
            context, forecasts = await self._expectations()
        except RequestRefused as refusal:
            return _answer(ExplanationView(basis=str(refusal)))
        space = self._settings().configuration_space()
        explanation = explained(self._enforced(), forecasts, space)
        report = await self._learner.report()
        if explanation is None:
            return _answer(ExplanationView(basis=f"{report.basis}; what is enforced is not among the candidates"))
        objective, terms = self._loop.orders.state.objective, self._settings().decision
        return _answer(explanation_view(explanation, report, context, objective.value, terms.min_saving))

    async def surrogate(self, _: web.Request) -> web.Response:
        """Whether the surrogates are to be trusted."""
        return _answer(surrogate_view(await self._learner.report()))

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Every trial, for another host."""
        served = self._served()
        trials = await self._trials.trials(served, _MOST_TRIALS)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: NDJSON})
        await response.prepare(request)
        header = TrialsHeader(
            engine=served.engine, engine_version=served.engine_version, model=served.model, device=served.device
        )
        await response.write(_line(header))
        for trial in trials:
            if trial.measured or not trial.feasible:
                await response.write(_line(trial_line(trial)))
        await response.write_eof()
        return response

    async def take_in(self, request: web.Request) -> web.Response:
        """Trials of another host; all of them, or none with the line that is wrong."""
        served = self._served()
        trials = [trial async for trial in _read_trials(request, served)]
        known = {_key(trial) for trial in await self._trials.trials(served, _MOST_TRIALS)}
        fresh = [trial for trial in trials if _key(trial) not in known]
        if fresh and not await self._trials.record_trials(served, fresh, "import"):
            raise RequestRefused("the store did not take the trials; `reconfigure status` says what is wrong with it")
        await self._learner.fitted(fresh=True)
        return _answer(ImportResult(taken=len(fresh), known=len(trials) - len(fresh)))

    async def _expectations(self) -> tuple[WorkloadContext, tuple[Forecast, ...]]:
        context = await self._context()
        forecasts = None if context is None else await self._learner.expectations(context)
        if context is None or forecasts is None:
            why = self._learner.describe() if context is not None else "no request was served or measured yet"
            raise RequestRefused(
                f"nothing has been learned yet: {why}; let the engine serve for a while, or measure configurations on "
                "purpose with `reconfigure tune`"
            )
        return context, forecasts

    async def _context(self) -> WorkloadContext | None:
        """The workload as it is; where there is none, the one that was measured last on purpose."""
        window = self._loop.sampler.window
        if window is not None and window.finished:
            return context_of(window)
        session = await self._trials.last_session()
        return None if session is None else session.context

    def _served(self) -> Served:
        served = self._learner.served()
        if served is None:
            raise RequestRefused("no engine has answered yet, so it is not known what trials are of; try again later")
        return served

    def _enforced(self) -> Configuration:
        state, space = self._loop.sampler.state, self._settings().configuration_space()
        return space.effective(completed(space, self._loop.target if state is None else state.enforced))


async def _read_trials(request: web.Request, served: Served) -> AsyncIterator[Trial]:
    number = 0
    async for line in lines_of(request):
        number += 1
        if number == 1:
            _check_header(line, served)
        elif line.strip():
            yield _trial(line, number)
    if number == 0:
        raise RequestInvalid("the file is empty; write one with `reconfigure export FILE` on the other host")


def _check_header(line: bytes, served: Served) -> None:
    """Refuse what is true of something else: another version of the format, engine, model or device."""
    try:
        version = json.loads(line)["version"]
        known = version == TRIALS_VERSION
        header = TrialsHeader.model_validate_json(line) if known else None
    except (ValidationError, ValueError, TypeError, LookupError) as fault:
        raise RequestInvalid(
            "line 1 is no header of exported trials; write the file with `reconfigure export FILE` on the other host"
        ) from fault
    if header is None:
        raise RequestInvalid(f"line 1: found version {version} of the format, and this daemon reads {TRIALS_VERSION}")
    pairs = {
        "engine": (header.engine, served.engine),
        "model": (header.model, served.model),
        "device": (header.device, served.device),
    }
    differing = [f"{name} {theirs!r} there, {ours!r} here" for name, (theirs, ours) in pairs.items() if theirs != ours]
    if differing:
        raise RequestRefused(
            f"these trials say nothing of this host: {'; '.join(differing)}. Nothing was taken; measure here with "
            "`reconfigure tune`"
        )


def _trial(line: bytes, number: int) -> Trial:
    try:
        read = TrialLine.model_validate_json(line)
        measured = measured_of(read)
    except (ValidationError, ValueError) as fault:
        first = str(fault.errors()[0]["msg"]) if isinstance(fault, ValidationError) else str(fault)
        raise RequestInvalid(f"line {number} is no trial ({first}); nothing was taken") from fault
    return Trial(Configuration(read.configuration), read.context, read.at, measured, read.feasible, read.reason)


def _key(trial: Trial) -> tuple[object, ...]:
    return trial.at, trial.configuration, trial.feasible


def _line(message: BaseModel) -> bytes:
    return message.model_dump_json().encode() + b"\n"


def _answer(message: BaseModel) -> web.Response:
    return web.json_response(text=message.model_dump_json())
