"""Linear regression that learns from sums, forgets slowly, and keeps every coefficient at or above zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]

#: Residuals count as at least this large beside the value itself; a perfect fit must not make one outlier infinite.
_LEAST_RELATIVE_ERROR = 0.01

#: Observations that miss the fit by more than this many standard errors count for less, e.g. a compilation.
_OUTLYING = 4.0

#: Share of the newest observations' error in the running estimate of the residuals.
_ERROR_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Observations:
    """Sums over observations `(x, y)`: `x xT`, `x y`, `y y`, and how many there are."""

    gram: Matrix
    moments: Vector
    square: float
    count: float

    def squared_error(self, coefficients: Vector) -> float:
        """Sum of the squared residuals under these coefficients."""
        fitted = dot(coefficients, [dot(row, coefficients) for row in self.gram])
        return max(0.0, self.square - 2 * dot(coefficients, self.moments) + fitted)


@dataclass(frozen=True, slots=True)
class Regression:
    """Least squares over all observations so far, older ones counting less.

    What is forgotten is replaced by as many imaginary observations that agree with the present fit, spread evenly over
    all features. A feature that stands still for hours thus keeps its coefficient instead of losing it.

    Attributes:
        gram, moments: decayed sums; symmetric `n x n` and `n`.
        coefficients: the fit, each at least zero.
        anchor: weight of the imaginary observations for each feature, in its own unit squared.
        residual: mean squared error of observations before they were learned.
        count: observations learned so far.
    """

    gram: Matrix
    moments: Vector
    coefficients: Vector
    anchor: Vector
    residual: float = 0.0
    count: float = 0.0

    @classmethod
    def starting_from(cls, coefficients: Vector, typical: Vector, strength: float) -> Regression:
        """A fit before any observation.

        Args:
            coefficients: what to believe at first.
            typical: a usual value of each feature; only its magnitude matters.
            strength: how many observations the first belief weighs as much as.
        """
        anchor = tuple(strength * value * value for value in typical)
        gram = tuple(tuple(a if i == j else 0.0 for j in range(len(anchor))) for i, a in enumerate(anchor))
        moments = tuple(a * c for a, c in zip(anchor, coefficients, strict=True))
        return cls(gram, moments, coefficients, anchor)

    def learned(self, new: Observations, kept: float) -> Regression:
        """The fit with further observations.

        Args:
            new: at least one observation.
            kept: share of the old observations' weight that stays, 0 to 1.
        """
        error, weight = new.squared_error(self.coefficients) / new.count, self._weight(new)
        faded = 1.0 - kept
        gram = tuple(
            tuple(
                kept * old + weight * fresh + (faded * self.anchor[i] if i == j else 0.0)
                for j, (old, fresh) in enumerate(zip(row, fresh_row, strict=True))
            )
            for i, (row, fresh_row) in enumerate(zip(self.gram, new.gram, strict=True))
        )
        moments = tuple(
            kept * old + weight * fresh + faded * anchor * coefficient
            for old, fresh, anchor, coefficient in zip(
                self.moments, new.moments, self.anchor, self.coefficients, strict=True
            )
        )
        rate = max(_ERROR_RATE, new.count / (self.count + new.count))
        return replace(
            self,
            gram=gram,
            moments=moments,
            coefficients=non_negative_solution(gram, moments),
            residual=(1 - rate) * self.residual + rate * error,
            count=self.count + new.count,
        )

    def scaled(self, factor: float) -> Regression:
        """The fit that the same observations would give, had every value been so much larger."""
        moments, coefficients = (tuple(factor * value for value in of) for of in (self.moments, self.coefficients))
        return replace(self, moments=moments, coefficients=coefficients, residual=factor**2 * self.residual)

    def predict(self, features: Sequence[float]) -> float:
        """The fitted value."""
        return dot(self.coefficients, features)

    def standard_error(self, features: Sequence[float]) -> float:
        """How uncertain the fitted mean is there; it grows with the distance from what was observed."""
        return sqrt(max(0.0, self.residual * dot(features, solve(self.gram, tuple(features)))))

    def _weight(self, new: Observations) -> float:
        """1, and less for observations far off a fit that has seen enough."""
        if self.count < new.count:
            return 1.0
        allowed = new.count * self.residual + _LEAST_RELATIVE_ERROR**2 * new.square
        found = new.squared_error(self.coefficients)
        return 1.0 if found <= _OUTLYING**2 * allowed else _OUTLYING**2 * allowed / found


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Sum of the products."""
    return sum(a * b for a, b in zip(left, right, strict=True))


def non_negative_solution(gram: Matrix, moments: Vector) -> Vector:
    """Least squares in which a coefficient that would be negative is zero, the most negative one taken out first."""
    free = list(range(len(moments)))
    while free:
        part = solve(tuple(tuple(gram[i][j] for j in free) for i in free), tuple(moments[i] for i in free))
        lowest = min(range(len(free)), key=lambda at: part[at] * sqrt(gram[free[at]][free[at]]))
        if part[lowest] >= 0:
            found = dict(zip(free, part, strict=True))
            return tuple(found.get(i, 0.0) for i in range(len(moments)))
        del free[lowest]
    return (0.0,) * len(moments)


def solve(gram: Matrix, right: Vector) -> Vector:
    """`x` with `gram x = right` for a symmetric positive definite matrix, by Cholesky's method on a unit diagonal."""
    size = range(len(right))
    scale = [1.0 / sqrt(gram[i][i]) for i in size]
    lower: list[list[float]] = []
    forward: list[float] = []
    for i in size:
        row: list[float] = []
        for j in range(i):
            rest = gram[i][j] * scale[i] * scale[j] - sum(row[k] * lower[j][k] for k in range(j))
            row.append(rest / lower[j][j])
        row.append(sqrt(max(1e-12, 1.0 - sum(value * value for value in row))))
        lower.append(row)
        forward.append((right[i] * scale[i] - sum(row[k] * forward[k] for k in range(i))) / row[i])
    solution = [0.0] * len(right)
    for i in reversed(size):
        later = sum(lower[k][i] * solution[k] for k in range(i + 1, len(right)))
        solution[i] = (forward[i] - later) / lower[i][i]
    return tuple(value * scale[i] for i, value in enumerate(solution))
