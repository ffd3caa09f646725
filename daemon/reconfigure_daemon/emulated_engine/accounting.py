"""What an emulated engine has done so far: joules, tokens and gaps between tokens."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from reconfigure_policies.domain.workload import ITL_BUCKETS_S


class EnergyAccount:
    """Cumulative joules: idle power for all time, and what steps and boots cost above it."""

    def __init__(self, started_s: float, idle_power_w: float) -> None:
        self._since_s = started_s
        self._idle_power_w = idle_power_w
        self._spent_j = 0.0

    def spend(self, energy_j: float) -> None:
        """Add joules above idle."""
        self._spent_j += energy_j

    def set_idle_power(self, now_s: float, idle_power_w: float) -> None:
        """From now on another set of devices idles."""
        self._spent_j = self.total_j(now_s)
        self._since_s, self._idle_power_w = now_s, idle_power_w

    def total_j(self, now_s: float) -> float:
        """Joules since the start; never decreases with time."""
        return self._spent_j + self._idle_power_w * (now_s - self._since_s)


class GapAccount:
    """Gaps between tokens. Every decoding request gets a token in every step, so all of them see the same gaps."""

    def __init__(self) -> None:
        self.histogram = [0] * (len(ITL_BUCKETS_S) + 1)
        # Steps whose gap is longer than every later one, oldest first: the rest can never be a maximum again.
        self._steps: list[int] = []
        self._gaps_s: list[float] = []

    def add(self, last_step: int, steps: int, mean_gap_s: float, longest_gap_s: float, decoders: int) -> None:
        """A number of steps, the last of them numbered `last_step`, and the gaps that end with each of them."""
        if decoders == 0:
            return
        self.histogram[bisect_left(ITL_BUCKETS_S, mean_gap_s)] += steps * decoders
        while self._gaps_s and self._gaps_s[-1] <= longest_gap_s:
            self._steps.pop()
            self._gaps_s.pop()
        self._steps.append(last_step)
        self._gaps_s.append(longest_gap_s)

    def longest_after_s(self, step: int | None) -> float:
        """The longest gap that a request saw whose first token came with this step; 0 without a second token."""
        if step is None:
            return 0.0
        index = bisect_right(self._steps, step)
        return self._gaps_s[index] if index < len(self._gaps_s) else 0.0


@dataclass(slots=True)
class Counters:
    """See `IterationTotals`."""

    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    output_tokens: int = 0
    arrived: int = 0
    finished: int = 0
