"""The regression finds exact laws, keeps what stands still, and is not thrown by an outlier."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconfigure_policies.step_cost.least_squares import Observations, Regression, dot, non_negative_solution, solve

coefficients = st.tuples(*[st.floats(0.01, 10)] * 3)
features = st.tuples(st.just(1.0), st.floats(0, 100), st.floats(0, 100))


def observed(points, law, noise=0.0):
    ys = [dot(law, x) + noise for x in points]
    return Observations(
        gram=tuple(tuple(sum(x[i] * x[j] for x in points) for j in range(3)) for i in range(3)),
        moments=tuple(sum(x[i] * y for x, y in zip(points, ys, strict=True)) for i in range(3)),
        square=sum(y * y for y in ys),
        count=len(points),
    )


def fresh(strength=1e-6):
    return Regression.starting_from((1.0, 1.0, 1.0), (1.0, 50.0, 50.0), strength)


SPREAD = [(1.0, 5.0, 90.0), (1.0, 80.0, 10.0), (1.0, 40.0, 45.0), (1.0, 10.0, 5.0), (1.0, 70.0, 70.0)]


@given(coefficients)
def test_an_exact_law_is_found(law):
    """Observations without noise give their law back, and predictions anywhere follow it."""
    fit = fresh().learned(observed(SPREAD, law), kept=1.0)
    assert fit.coefficients == pytest.approx(law, rel=1e-3, abs=1e-3)


@settings(deadline=None)  # hundreds of updates in each example
@given(coefficients, st.integers(50, 500))
def test_a_feature_that_stands_still_keeps_its_coefficient(law, times):
    """Hours at one operating point do not make the fit forget what it learned at others."""
    fit = fresh(0.01).learned(observed(SPREAD * 20, law), kept=1.0)
    still = observed([(1.0, 30.0, 30.0)] * 5, law)
    for _ in range(times):
        fit = fit.learned(still, kept=0.98)
    assert fit.predict((1.0, 90.0, 5.0)) == pytest.approx(dot(law, (1.0, 90.0, 5.0)), rel=0.05)


def test_an_outlier_hardly_moves_a_fit_that_has_seen_enough():
    """One observation a hundred times too long, e.g. a compilation, changes predictions by less than a tenth."""
    law = (1.0, 0.1, 0.2)
    fit = fresh().learned(observed(SPREAD * 10, law), kept=1.0)
    shaken = fit.learned(observed(SPREAD[:1], law, noise=100 * dot(law, SPREAD[0])), kept=1.0)
    assert shaken.predict(SPREAD[2]) == pytest.approx(fit.predict(SPREAD[2]), rel=0.1)


def test_a_changed_law_is_learned_in_the_end():
    """What looks like outliers at first becomes the law if it stays."""
    fit = fresh().learned(observed(SPREAD * 10, (1.0, 0.1, 0.2)), kept=1.0)
    for _ in range(200):
        fit = fit.learned(observed(SPREAD, (2.0, 0.3, 0.1)), kept=0.9)
    assert fit.predict(SPREAD[2]) == pytest.approx(dot((2.0, 0.3, 0.1), SPREAD[2]), rel=0.02)


@given(st.lists(features, min_size=3, max_size=12), st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_no_coefficient_is_negative(points, law):
    """Whatever the data say, a step costs nothing less than nothing."""
    sums = observed([*points, *SPREAD], law)
    assert all(value >= 0 for value in non_negative_solution(sums.gram, sums.moments))


@given(st.lists(st.tuples(*[st.floats(-10, 10)] * 3), min_size=3, max_size=3), st.tuples(*[st.floats(-10, 10)] * 3))
def test_equations_are_solved(rows, right):
    """The solution satisfies its equations."""
    gram = tuple(
        tuple(sum(row[i] * row[j] for row in rows) + (1.0 if i == j else 0.0) for j in range(3)) for i in range(3)
    )
    assume(max(abs(value) for value in right) > 1e-6)
    found = solve(gram, right)
    assert [dot(row, found) for row in gram] == pytest.approx(right, rel=1e-5, abs=1e-5)


def test_uncertainty_grows_with_the_distance_from_what_was_seen():
    """Far from the observations a prediction is worth less."""
    fit = fresh().learned(observed(SPREAD, (1.0, 0.1, 0.2), noise=0.1), kept=1.0)
    assert fit.standard_error((1.0, 900.0, 5.0)) > 3 * fit.standard_error(SPREAD[2])
