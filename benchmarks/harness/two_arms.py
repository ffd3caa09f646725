"""Two ways to choose trials, at the same budget: how well each foretells what the other tried, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.harness.rows import Row, shown
from reconfigure_policies.domain.configuration import ConfigurationSpace
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import OBJECTIVES, FitOptions, Quantity, Trial, estimate_of, fit, hypervolume
from reconfigure_policies.surrogate.encoding import encoding_of

#: The space's own values, and points between them.
ARMS = ("discrete", "continuous")

NAMES = {Quantity.THROUGHPUT: "throughput", Quantity.ENERGY: "energy"}


@dataclass(frozen=True)
class TwoArms:
    """What both arms measured.

    Attributes:
        trials: by arm.
        space: of both.
        context: the workload of all trials.
        reference: the worst value of each objective that counts, fixed in advance.
        options: of the surrogates.
    """

    trials: Mapping[str, Sequence[Trial]]
    space: ConfigurationSpace
    context: WorkloadContext
    reference: tuple[float, float]
    options: FitOptions = field(default_factory=FitOptions)

    def rows(self) -> list[Row]:
        """Both arms in turn."""
        return [
            *(row for arm, other in (ARMS, ARMS[::-1]) for row in self._foretelling(arm, other)),
            *(row for arm in ARMS for row in self._found(arm)),
        ]

    def _foretelling(self, arm: str, other: str) -> list[Row]:
        """An arm about the other's configurations that it did not try."""
        surrogates = fit(self.trials[arm], self.space, self.options)
        encoding = encoding_of(self.space, [self.context], self.options.canonical)
        tried = {encoding.effective(trial.configuration) for trial in self.trials[arm]}
        unseen = [t for t in self.trials[other] if t.measured and encoding.effective(t.configuration) not in tried]
        forecasts = surrogates.forecast([trial.configuration for trial in unseen], self.context)
        rows = []
        for quantity in OBJECTIVES:
            estimates = [each for f in forecasts if (each := estimate_of(f, quantity)) is not None]
            values = [trial.measured[quantity].value for trial in unseen]
            inside = [e.low <= value <= e.high for e, value in zip(estimates, values, strict=True)]
            errors = [abs(e.median / value - 1) for e, value in zip(estimates, values, strict=True)]
            what = f"{arm} arm on the other's configurations: {NAMES[quantity]}"
            rows.append(shown(f"{what}, mean absolute error", 100 * float(np.mean(errors)), "%"))
            rows.append(shown(f"{what}, share inside 95 % intervals", 100 * float(np.mean(inside)), "%"))
        return rows

    def _found(self, arm: str) -> list[Row]:
        """The volume of what an arm measured, and how often it asked for what cannot run."""
        trials = self.trials[arm]
        points = [[trial.measured[quantity].value for quantity in OBJECTIVES] for trial in trials if trial.measured]
        volume = hypervolume(points, self.reference, OBJECTIVES)
        return [
            shown(f"{arm}: hypervolume of its {len(trials)} trials", volume),
            shown(f"{arm}: trials that could not run", len(trials) - len(points)),
        ]
