"""Keeps surrogates fitted to what the store holds, in a worker thread, no more often than it is worth."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TypeVar

from reconfigure_daemon.clock import Clock
from reconfigure_daemon.durations import format_duration
from reconfigure_daemon.learning.checks import Check, Checks, checked
from reconfigure_daemon.learning.front_size import FrontSize, front_size
from reconfigure_daemon.learning.methods import Methods
from reconfigure_daemon.learning.one_processor import on_one_processor
from reconfigure_daemon.learning.training import training_set
from reconfigure_daemon.ports import FitReport, LearningMetrics, Served, TrialStore
from reconfigure_daemon.settings.model import Settings
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace
from reconfigure_policies.domain.forecast import Forecast, WorkloadContext
from reconfigure_policies.surrogate import FitOptions, Quality, Surrogates, SurrogateUnavailable, Trial

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: A decision asks twice: of the workload as it is, and at its busiest.
_ANSWERS_KEPT = 2


@dataclass(frozen=True, slots=True)
class _Fit:
    """Surrogates, what they rest on, when they were made (wall clock), and how long that took."""

    surrogates: Surrogates
    quality: Quality
    served: Served
    space: ConfigurationSpace
    trials: tuple[Trial, ...]
    at: float
    duration_s: float


class Learning:
    """A `Forecaster` and a `Learner`.

    numpy and scipy are imported when there are enough trials for a first fit and not before; everything that computes
    runs in a worker thread, on one processor, one piece of work at a time.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        clock: Clock,
        trials: TrialStore,
        metrics: LearningMetrics,
        served: Callable[[], Served | None],
        methods: Methods | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._trials = trials
        self._metrics = metrics
        self._served = served
        self._methods = methods or Methods()
        self._fit: _Fit | None = None
        self._measured = 0
        self._error = ""
        self._tried_s = float("-inf")
        self._checks = Checks()
        self._candidates: tuple[ConfigurationSpace, tuple[Configuration, ...]] | None = None
        self._answered: list[tuple[Surrogates, WorkloadContext, tuple[Forecast, ...]]] = []
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learning")

    def served(self) -> Served | None:
        """See `Learner.served`."""
        return self._served()

    async def forecasts(self, context: WorkloadContext) -> tuple[Forecast, ...] | None:
        """See `Forecaster.forecasts`. None also where leave-one-out says that the surrogates are not to be trusted."""
        await self.fitted()
        return await self.expectations(context) if self._fit is not None and self._fit.quality.is_trusted else None

    async def expectations(self, context: WorkloadContext) -> tuple[Forecast, ...] | None:
        """See `Learner.expectations`."""
        surrogates = await self.fitted()
        if surrogates is None:
            return None
        for by, of, answer in self._answered:
            if by is surrogates and of == context:
                return answer
        candidates = self._candidates_of(self._settings().configuration_space())
        found, front = await self.computed(lambda: _with_front(surrogates, candidates, context))
        if front is not None:
            self._metrics.observe_front(front.configurations, front.hypervolume)
        self._answered = [*self._answered, (surrogates, context, found)][-_ANSWERS_KEPT:]
        return found

    def describe(self) -> str:
        """See `Forecaster.describe`."""
        needed, fit = self._settings().learning.min_trials, self._fit
        if fit is None:
            return self._error or f"{self._measured} trials of {needed} needed"
        age = format_duration(max(0.0, self._clock.wall() - fit.at))
        basis = f"fitted {age} ago to {len(fit.trials)} trials"
        if not fit.quality.is_trusted:
            return f"{basis}, and not to be trusted: {'; '.join(fit.quality.faults)}"
        return f"{basis}; the latest fit failed: {self._error}" if self._error else basis

    async def report(self) -> FitReport:
        """See `Learner.report`."""
        await self.fitted()
        fit, needed = self._fit, self._settings().learning.min_trials
        if fit is None:
            return FitReport(self.describe(), needed, trials=self._measured, error=self._error)
        failed = sum(not trial.feasible for trial in fit.trials)
        return FitReport(
            self.describe(),
            needed,
            len(fit.trials),
            failed,
            fit.at,
            fit.duration_s,
            fit.quality,
            self._checks.summary(),
            self._error,
        )

    def close(self) -> None:
        """End the thread; a fit that runs is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def fitted(self, *, fresh: bool = False) -> Surrogates | None:
        """See `Learner.fitted`."""
        async with self._turn:
            served = self._served()
            if served is None:
                self._error = "no engine was read yet"
                return None
            if self._is_due(served, fresh=fresh):
                await self._refit(served)
            return None if self._fit is None else self._fit.surrogates

    def _is_due(self, served: Served, *, fresh: bool) -> bool:
        fit, space = self._fit, self._settings().configuration_space()
        if fit is None or fit.served != served or fit.space != space:
            self._fit = None
            return True
        return fresh or self._clock.monotonic() - self._tried_s >= self._settings().learning.refit_interval_s

    async def _refit(self, served: Served) -> None:
        """Fit to the newest trials, unless nothing has come since; a fit that fails leaves the one before in force."""
        self._tried_s = self._clock.monotonic()
        learning, space = self._settings().learning, self._settings().configuration_space()
        trials = training_set(await self._trials.trials(served, learning.max_trials), space)
        self._measured = sum(bool(trial.measured) for trial in trials)
        if self._measured < learning.min_trials:
            self._error = ""
            return
        before = self._fit
        if before is not None and before.trials == trials:
            return
        try:
            surrogates, quality, checks = await self.computed(lambda: self._computed(trials, space, before))
        except SurrogateUnavailable as reason:
            if str(reason) != self._error:
                log.warning("surrogates were not fitted: %s", reason)
            self._error = str(reason)
            return
        duration_s = self._clock.monotonic() - self._tried_s
        self._error = ""
        self._fit = _Fit(surrogates, quality, served, space, trials, self._clock.wall(), duration_s)
        await self._tell(self._fit, checks)

    def _computed(
        self, trials: tuple[Trial, ...], space: ConfigurationSpace, before: _Fit | None
    ) -> tuple[Surrogates, Quality, list[Check]]:
        """In the worker thread: what the old fit had said of the new trials, the new fit, and how good it is."""
        checks: list[Check] = []
        if before is not None:
            checks = checked(before.surrogates, [trial for trial in trials if trial.at > before.at])
        options = FitOptions(max_trials=self._settings().learning.max_trials)
        warm = before.surrogates if before is not None else None
        surrogates = self._methods.fit(trials, space, options, warm)
        return surrogates, self._methods.quality(surrogates), checks

    async def _tell(self, fit: _Fit, checks: list[Check]) -> None:
        self._checks.add(checks)
        for check in checks:
            self._metrics.observe_forecast_check(check.quantity.value, check.expected, check.measured)
        for quantity, found in fit.quality.by_quantity.items():
            self._metrics.observe_surrogate(quantity.value, found.trials, found.mape, found.coverage)
        self._metrics.observe_fit(fit.duration_s)
        report = {
            "served": asdict(fit.served),
            "trials": len(fit.trials),
            "duration_s": fit.duration_s,
            "faults": list(fit.quality.faults),
            "quality": {quantity.value: asdict(found) for quantity, found in fit.quality.by_quantity.items()},
        }
        await self._trials.record_fit(fit.at, report)

    def _candidates_of(self, space: ConfigurationSpace) -> tuple[Configuration, ...]:
        if self._candidates is None or self._candidates[0] != space:
            self._candidates = space, tuple(space.enumerate())
        return self._candidates[1]

    async def computed(self, work: Callable[[], _T]) -> _T:
        """See `Learner.computed`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, on_one_processor, work)


def _with_front(
    surrogates: Surrogates, candidates: Sequence[Configuration], context: WorkloadContext
) -> tuple[tuple[Forecast, ...], FrontSize | None]:
    """In the worker thread: forecasts of all candidates, and how far their front reaches."""
    found = surrogates.forecast(candidates, context)
    return found, front_size(found, surrogates.trials)
