"""Forecasts made before the fact, against the facts: the error that matters, on windows as they come."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

from reconfigure_daemon.ports import CheckedForecasts
from reconfigure_policies.domain.forecast import Estimate
from reconfigure_policies.surrogate import Quantity, Surrogates, Trial, estimate_of

#: Checks that are remembered of each quantity.
_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class Check:
    """One quantity of one trial."""

    quantity: Quantity
    expected: Estimate
    measured: float


@dataclass(slots=True)
class Checks:
    """The latest checks of every quantity."""

    _latest: dict[Quantity, deque[Check]] = field(default_factory=dict)

    def add(self, checks: Iterable[Check]) -> None:
        """Remember some."""
        for check in checks:
            self._latest.setdefault(check.quantity, deque(maxlen=_REMEMBERED)).append(check)

    def summary(self) -> dict[Quantity, CheckedForecasts]:
        """What they come to."""
        return {quantity: _summed_up(checks) for quantity, checks in self._latest.items()}


def checked(surrogates: Surrogates, trials: Iterable[Trial]) -> list[Check]:
    """What surrogates forecast of trials that they were not fitted to, quantity by quantity."""
    found = []
    for trial in trials:
        if not trial.measured:
            continue
        (forecast,) = surrogates.forecast([trial.configuration], trial.context)
        for quantity, measured in trial.measured.items():
            expected = estimate_of(forecast, quantity)
            if expected is not None:
                found.append(Check(quantity, expected, measured.value))
    return found


def _summed_up(checks: Iterable[Check]) -> CheckedForecasts:
    checks = list(checks)
    return CheckedForecasts(
        count=len(checks),
        mape=fmean(abs(check.expected.median - check.measured) / check.measured for check in checks),
        coverage=fmean(check.expected.low <= check.measured <= check.expected.high for check in checks),
        bias=fmean(math.log(check.measured / check.expected.median) for check in checks if check.expected.median > 0),
    )
