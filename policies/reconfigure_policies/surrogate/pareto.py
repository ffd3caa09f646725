"""Pareto fronts and their hypervolume, for a few objectives and some thousand points; exact, without a library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconfigure_policies.domain.forecast import Estimate, Forecast
from reconfigure_policies.surrogate.trials import Quantity

Point = tuple[float, ...]

#: The two objectives of the product.
OBJECTIVES = (Quantity.THROUGHPUT, Quantity.ENERGY)


def pareto_front(forecasts: Iterable[Forecast], objectives: Sequence[Quantity] = OBJECTIVES) -> tuple[Forecast, ...]:
    """Forecasts whose medians no other one beats in every objective, best first in the first objective.

    A forecast that lacks an objective is not on the front; of equal ones the first is.

    Args:
        forecasts: of one context.
        objectives: at least one.
    """
    known = [(point, forecast) for forecast in forecasts if (point := _point(forecast, objectives)) is not None]
    front: list[tuple[Point, Forecast]] = []
    for point, forecast in sorted(known, key=lambda each: each[0], reverse=True):
        if not any(_covers(other, point) for other, _ in front):
            front.append((point, forecast))
    return tuple(forecast for _, forecast in front)


def hypervolume(points: Iterable[Sequence[float]], reference: Sequence[float], objectives: Sequence[Quantity]) -> float:
    """Volume between the points and the reference point; what is no better than the reference adds nothing.

    Args:
        points: values of the objectives, in their units, with any number of dominated ones among them.
        reference: the worst value of each objective that counts.
        objectives: what they are, which tells the direction of each.

    Returns:
        At least 0, in the objectives' units multiplied.

    Source:
        While et al. 2006, A Faster Algorithm for Calculating Hypervolume (slicing objective by objective).
    """
    signs = [1.0 if quantity.is_maximised else -1.0 for quantity in objectives]
    gains = [
        tuple(sign * (value - worst) for sign, value, worst in zip(signs, point, reference, strict=True))
        for point in points
    ]
    return _volume([gain for gain in gains if min(gain) > 0])


def estimate_of(forecast: Forecast, quantity: Quantity) -> Estimate | None:
    """A forecast's estimate of one quantity."""
    estimate: Estimate | None = getattr(forecast, quantity.value)
    return estimate


def _point(forecast: Forecast, objectives: Sequence[Quantity]) -> Point | None:
    """Medians turned so that more is better, or None where one is missing."""
    estimates = [estimate_of(forecast, quantity) for quantity in objectives]
    known = [estimate.median for estimate in estimates if estimate is not None]
    if len(known) < len(estimates):
        return None
    return tuple(value if quantity.is_maximised else -value for value, quantity in zip(known, objectives, strict=True))


def _covers(one: Point, other: Point) -> bool:
    """Whether one is at least as good in everything."""
    return all(a >= b for a, b in zip(one, other, strict=True))


def _volume(points: list[Point]) -> float:
    """Volume of the union of boxes from the origin; all coordinates above 0."""
    if not points:
        return 0.0
    if len(points[0]) == 1:
        return max(point[0] for point in points)
    if len(points[0]) == 2:
        return _area(points)
    volume, ordered = 0.0, sorted(points, key=lambda point: point[0], reverse=True)
    for index, point in enumerate(ordered):
        below = ordered[index + 1][0] if index + 1 < len(ordered) else 0.0
        if point[0] > below:
            volume += (point[0] - below) * _volume([each[1:] for each in ordered[: index + 1]])
    return volume


def _area(points: list[Point]) -> float:
    """The union of rectangles from the origin, as a staircase from the right."""
    area, height = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        if y > height:
            area += x * (y - height)
            height = y
    return area
