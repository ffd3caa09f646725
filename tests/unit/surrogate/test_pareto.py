"""Fronts and hypervolumes, by their properties and against BoTorch's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import Estimate, Forecast
from reconfigure_policies.surrogate import OBJECTIVES, Quantity, hypervolume, pareto_front
from reconfigure_policies.surrogate.improvement import area_of, front_of, gains

from .worlds import CONTEXT

VALUES = st.integers(1, 30).map(float)
POINTS = st.lists(st.tuples(VALUES, VALUES), max_size=12)
REFERENCE = (3.0, 25.0)


def forecast(throughput_tps: float, energy_j: float) -> Forecast:
    estimates = [Estimate(value, value, value) for value in (energy_j, throughput_tps)]
    return Forecast(Configuration(), CONTEXT, *estimates)


def better(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """More throughput for no more energy, or less energy for no less throughput."""
    return one != other and one[0] >= other[0] and one[1] <= other[1]


@given(POINTS)
def test_the_front_is_what_nothing_beats(points: list[tuple[float, float]]):
    """Each point is on the front, once, exactly if no other is better."""
    front = pareto_front([forecast(*point) for point in points])
    found = [(each.throughput_tps.median, each.energy_per_output_token_j.median) for each in front]
    expected = {point for point in points if not any(better(other, point) for other in points)}
    assert sorted(found) == sorted(expected)
    assert found == sorted(found, reverse=True)


def test_what_lacks_an_objective_is_not_on_the_front():
    """A forecast without energy says nothing of energy."""
    assert pareto_front([Forecast(Configuration(), CONTEXT, None, Estimate(5, 4, 6))]) == ()


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=8))
@settings(max_examples=25, deadline=None)
def test_the_hypervolume_of_three_objectives_is_botorchs(points: list[tuple[float, float, float]]):
    """With one maximised and two minimised objectives."""
    pytest.importorskip("botorch", reason="BoTorch is the reference; `make test` installs it")
    import torch
    from botorch.utils.multi_objective.hypervolume import Hypervolume
    from botorch.utils.multi_objective.pareto import is_non_dominated

    objectives, reference = (Quantity.THROUGHPUT, Quantity.ENERGY, Quantity.TPOT), (2.0, 28.0, 27.0)
    turned = torch.tensor(points, dtype=torch.double).reshape(-1, 3) * torch.tensor([1.0, -1.0, -1.0])
    front = turned[is_non_dominated(turned)] if len(points) else turned
    expected = Hypervolume(torch.tensor([2.0, -28.0, -27.0], dtype=torch.double)).compute(front) if len(points) else 0.0
    assert hypervolume(points, reference, objectives) == pytest.approx(expected)


@given(POINTS)
def test_one_more_point_adds_what_is_promised(points: list[tuple[float, float]]):
    """The vectorised gain of a point is the hypervolume with it less that without it."""
    others, turned = points[1:], np.array([(t - REFERENCE[0], REFERENCE[1] - e) for t, e in points]).reshape(-1, 2)
    front = front_of(turned[1:])
    assert area_of(front) == pytest.approx(hypervolume(others, REFERENCE, OBJECTIVES))
    if points:
        added = hypervolume(points, REFERENCE, OBJECTIVES) - hypervolume(others, REFERENCE, OBJECTIVES)
        assert gains(np.maximum(turned[:1], 0), front) == pytest.approx(added)


@given(POINTS, st.permutations(range(12)))
def test_order_and_repetition_do_not_matter(points: list[tuple[float, float]], order: list[int]):
    """A hypervolume is that of a set."""
    shuffled = [points[index] for index in order if index < len(points)]
    assert hypervolume(shuffled + points, REFERENCE, OBJECTIVES) == pytest.approx(
        hypervolume(points, REFERENCE, OBJECTIVES)
    )
