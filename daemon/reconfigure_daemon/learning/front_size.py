"""How far the Pareto front of a set of forecasts reaches, in one number that can be watched over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconfigure_policies.domain.forecast import Forecast
from reconfigure_policies.surrogate import OBJECTIVES, Trial, hypervolume, pareto_front
from reconfigure_policies.surrogate.pareto import estimate_of


@dataclass(frozen=True, slots=True)
class FrontSize:
    """A front at a glance.

    Attributes:
        configurations: how many are on it.
        hypervolume: between it and the worst that was measured of each objective; in the objectives' units multiplied.
    """

    configurations: int
    hypervolume: float


def front_size(forecasts: Sequence[Forecast], trials: Sequence[Trial]) -> FrontSize | None:
    """The size of the forecasts' front, or None where an objective was never measured.

    The reference point is made of measurements, not of forecasts, so that it stays where it is while forecasts learn.
    """
    measured = [
        [trial.measured[quantity].value for trial in trials if quantity in trial.measured] for quantity in OBJECTIVES
    ]
    front = pareto_front(forecasts)
    if not front or not all(measured):
        return None
    reference = [
        (min if quantity.is_maximised else max)(values) for quantity, values in zip(OBJECTIVES, measured, strict=True)
    ]
    points = [
        [estimate.median for quantity in OBJECTIVES if (estimate := estimate_of(forecast, quantity)) is not None]
        for forecast in front
    ]
    return FrontSize(len(front), hypervolume(points, reference, OBJECTIVES))
