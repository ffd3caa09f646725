"""A stretch of decode-only steps of one batch, worked out at once instead of step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """Steps of an unchanging batch: each reads one token of context per request more than the one before.

    Attributes:
        started_s: when the first step starts.
        batch_time_s: the part of a step's time that is the same for all of them.
        kv_read_s_per_token: time of one token of context.
        kv_tokens: context of the first step.
        batch: requests; the context grows by this with each step.
        interval_s: shortest time between the starts of two steps; 0 is none.
    """

    started_s: float
    batch_time_s: float
    kv_read_s_per_token: float
    kv_tokens: int
    batch: int
    interval_s: float

    def step_time_s(self, index: int) -> float:
        """Seconds of one step."""
        return self.batch_time_s + self.kv_read_s_per_token * (self.kv_tokens + index * self.batch)

    def start_s(self, index: int) -> float:
        """When a step starts, if all before it are of one kind (see `is_paced`)."""
        if self.is_paced:
            return self.started_s + index * self.interval_s
        growth_s = self.kv_read_s_per_token * self.batch * index * (index - 1) / 2
        return self.started_s + index * self.step_time_s(0) + growth_s

    def end_s(self, index: int) -> float:
        """When a step ends."""
        return self.start_s(index) + self.step_time_s(index)

    @property
    def is_paced(self) -> bool:
        """Whether the first step leaves a rest until the interval is over."""
        return self.step_time_s(0) < self.interval_s

    def steps_until(self, limit_s: float, most: int) -> int:
        """How many steps, at most `most`, end by `limit_s` and are of one kind: all paced, or all back to back."""
        if self.is_paced:
            return self._paced_steps(limit_s, most)
        steps = min(most, self._back_to_back_steps(limit_s))
        while steps > 0 and self.end_s(steps - 1) > limit_s:
            steps -= 1  # the square root was rounded up
        return steps

    def _paced_steps(self, limit_s: float, most: int) -> int:
        slack_s = self.interval_s - self.step_time_s(0)
        until_too_long = math.ceil(slack_s / (self.kv_read_s_per_token * self.batch))
        whole_intervals = int((limit_s - self.started_s) / self.interval_s) + 1
        steps = max(0, min(most, until_too_long, whole_intervals))
        while steps > 0 and self.end_s(steps - 1) > limit_s:
            steps -= 1  # the last interval has begun, its step has not ended
        return steps

    def _back_to_back_steps(self, limit_s: float) -> int:
        """Solves `end_s(n - 1) <= limit_s`, a quadratic in n, to within one step."""
        available_s = limit_s - self.started_s
        if available_s <= 0:
            return 0
        quadratic = self.kv_read_s_per_token * self.batch / 2
        linear = self.step_time_s(0) - quadratic
        return int((math.sqrt(linear * linear + 4 * quadratic * available_s) - linear) / (2 * quadratic)) + 1
