"""What a GPU clock does to a step: seconds and joules at one clock, from those at another.

Time: the part of a step that waits for memory does not care about the SM clock, the part that computes takes inversely
longer. Decode-only steps of a small batch mostly wait, steps with prefill mostly compute: each kind has its own share.

Power above idle: at a clock the voltage that carries it falls too, so dynamic power falls with a power of the clock
between one (voltage fixed) and three (voltage proportional to the clock).

Both are fitted by what was measured at two clocks; nothing here is assumed of a card. The model says nothing
below the clock at which voltage no longer falls: measure there. The governor does not choose clocks yet.

Source:
    The division of time: Hsu and Feng 2005, A Power-Aware Run-Time System for High-Performance Computing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

#: Clocks closer than this are one, and say nothing of how a step scales.
_LEAST_RATIO = 1.02

_LOWEST_EXPONENT, _HIGHEST_EXPONENT = 1.0, 3.0


class ClocksTooClose(ValueError):
    """Two measurements that cannot tell how a step depends on the clock."""


@dataclass(frozen=True, slots=True)
class ClockScaling:
    """How one kind of step depends on the clock.

    Attributes:
        memory_share: part of the step at the reference clock that does not depend on it, 0 to 1.
        exponent: of the clock in the power above idle.
        idle_w: power that does not depend on what runs.
    """

    memory_share: float
    exponent: float
    idle_w: float

    def __post_init__(self) -> None:
        if not 0 <= self.memory_share <= 1:
            raise ValueError(f"found memory_share={self.memory_share}; a share from 0 to 1 is allowed")
        if self.idle_w < 0:
            raise ValueError(f"found idle_w={self.idle_w}; watts from 0 are allowed")

    @classmethod
    def between(cls, fast: tuple[float, float, float], slow: tuple[float, float, float], idle_w: float) -> ClockScaling:
        """Fitted to the same step at two clocks, with the faster one as reference.

        Args:
            fast: `(clock in MHz, seconds, joules)`.
            slow: the same, at a lower clock.
            idle_w: power that does not depend on what runs.

        Raises:
            ClocksTooClose: if the clocks do not differ.
        """
        ratio = slow[0] / fast[0]
        if not 0 < ratio * _LEAST_RATIO <= 1:
            raise ClocksTooClose(f"found {fast[0]:g} and {slow[0]:g} MHz; the second has to be at least 2% lower")
        stretch = (slow[1] / fast[1] - 1) / (1 / ratio - 1)
        dynamic_w = [max(1e-9, joules / seconds - idle_w) for _, seconds, joules in (fast, slow)]
        exponent = log(dynamic_w[1] / dynamic_w[0]) / log(ratio)
        clamped = min(_HIGHEST_EXPONENT, max(_LOWEST_EXPONENT, exponent))
        return cls(min(1.0, max(0.0, 1 - stretch)), clamped, idle_w)

    def step_s(self, reference_s: float, ratio: float) -> float:
        """Seconds of a step that takes `reference_s` at the reference clock, at `ratio` of that clock."""
        return reference_s * (self.memory_share + (1 - self.memory_share) / ratio)

    def step_j(self, reference_s: float, reference_j: float, ratio: float) -> float:
        """Joules of a step, idle power during it included; smaller is better, and slower is not always smaller."""
        dynamic_w = max(0.0, reference_j / reference_s - self.idle_w)
        return self.step_s(reference_s, ratio) * (self.idle_w + dynamic_w * exp(self.exponent * log(ratio)))
