"""How bursty arrivals are, learned from window to window; the state is explicit."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import fmean

from reconfigure_policies.domain.workload import WorkloadWindow

#: Windows that are remembered.
_MEMORY = 60

#: Share of the squares that is left out, the largest ones, and the mean of what is left of a standard normal deviate's.
_TRIMMED, _TRIMMED_MEAN = 0.1, 0.623


@dataclass(frozen=True, slots=True)
class Bursts:
    """What windows have shown; the start knows nothing.

    Attributes:
        last: arrivals of the last two windows, each second.
        squares: of what each window lay beside the line through its neighbours, as shares of the mean, in units of a
            window's own variance.
    """

    last: tuple[float, ...] = ()
    squares: tuple[float, ...] = ()

    def after(self, window: WorkloadWindow) -> Bursts:
        """With another window.

        Three neighbours are compared with a line, so that a load that goes up or down is none that comes in bursts:
        independent counts of one variance differ from it by six variances.
        """
        last = (*self.last, window.arrival_rate_rps)
        mean = sum(last) / len(last)
        if len(last) < 3 or mean <= 0:
            return Bursts(last[-2:], self.squares)
        square = ((last[0] - 2 * last[1] + last[2]) / mean) ** 2 / 6
        return Bursts(last[-2:], (*self.squares, square)[-_MEMORY:])

    def over(self, arrivals: float) -> float:
        """Variance of a window's count as a multiple of its mean, at least that of independent arrivals, 1.

        The largest squares are left out, since where a load begins to go up or down it lies beside any line.

        Args:
            arrivals: that such a window has on average.
        """
        kept = sorted(self.squares)[: len(self.squares) - ceil(_TRIMMED * len(self.squares))]
        return max(1.0, fmean(kept) / _TRIMMED_MEAN * arrivals) if kept else 1.0
