"""How to fit and how to suggest; everything that could be chosen otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from reconfigure_policies.surrogate.canonical import Canonical
from reconfigure_policies.surrogate.trials import Quantity

#: Beyond a variance this many times doubled an observation says nothing, and larger numbers only trouble the algebra.
MOST_DOUBLINGS = 20.0


@dataclass(frozen=True, slots=True)
class Drift:
    """How much less an observation says after the workload or the machine has shifted.

    Its variance grows with the time by which it is older than the shift: doubling every `half_life_s`, as a discount
    of its weight. Observations since the shift keep their weight.

    Attributes:
        shifted_at: when the last shift was, wall-clock seconds; None for none, which discounts nothing.
        half_life_s: after this long before the shift an observation counts half.
        relative_sd: uncertainty that every observation from before the shift gets at once, as a share of its value.
    """

    shifted_at: float | None = None
    half_life_s: float = 24 * 3600.0
    relative_sd: float = 0.1

    def variance(self, at: float, own: float) -> float:
        """Variance of a log value observed at `at`, given its own; never less than that."""
        if self.shifted_at is None or at >= self.shifted_at:
            return own
        doublings = min((self.shifted_at - at) / self.half_life_s, MOST_DOUBLINGS)
        return (own + self.relative_sd**2) * math.exp2(doublings)


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How surrogates are fitted.

    Attributes:
        canonical: what makes no difference, collapsed before fitting.
        drift: discount of old observations.
        quantities: what to model, of what the trials measured.
        max_iterations: of the optimiser that fits each Gaussian process; a warm fit needs few.
        max_trials: the newest this many are fitted, so that time and memory are bounded.
        calibrate: scale the intervals by grouped leave-one-out residuals.
    """

    canonical: Canonical = field(default_factory=Canonical)
    drift: Drift = field(default_factory=Drift)
    quantities: tuple[Quantity, ...] = tuple(Quantity)
    max_iterations: int = 60
    max_trials: int = 400
    calibrate: bool = True


@dataclass(frozen=True, slots=True)
class SuggestOptions:
    """How the next trials are chosen.

    Attributes:
        objectives: what spans the front.
        reference_point: the worst value of each objective that counts, in its unit; None takes it from the trials.
        method: `nehvi` (noisy expected hypervolume improvement) or `thompson` (one posterior draw for each
            suggestion; far cheaper and nearly as good).
        samples: posterior draws of `nehvi`.
        seed: of the draws; the same seed and trials give the same suggestions.
        may_repeat: whether a configuration that was tried in this context may be suggested again.
    """

    objectives: tuple[Quantity, ...] = (Quantity.THROUGHPUT, Quantity.ENERGY)
    reference_point: tuple[float, ...] | None = None
    method: str = "nehvi"
    samples: int = 128
    seed: int = 0
    may_repeat: bool = False
