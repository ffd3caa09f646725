"""What an emulated engine has done so far: joules, tokens, steps and gaps between tokens."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from reconfigure_daemon.emulated_engine.decode_run import DecodeRun
from reconfigure_policies.domain.steps import StepMoments, StepTotals, step_products
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


class StepAccount:
    """Sums over all steps; see `StepTotals`."""

    def __init__(self) -> None:
        self._decode_only = self._with_prefill = StepMoments()
        self._back_to_back_steps = self._back_to_back_prefill_tokens = 0

    def add(self, prefill_tokens: int, batch: int, kv_tokens: int, duration_s: float, rested: bool) -> None:
        """One step."""
        products = step_products(prefill_tokens, batch, kv_tokens, duration_s)
        if prefill_tokens:
            self._with_prefill = self._with_prefill.plus(products)
        else:
            self._decode_only = self._decode_only.plus(products)
        if not rested:
            self._back_to_back_steps += 1
            self._back_to_back_prefill_tokens += prefill_tokens

    def add_run(self, run: DecodeRun, steps: int, first_rested: bool) -> None:
        """The first steps of a run; only its context grows, so the sums are those of 0, 1, 2 ... and their squares."""
        n, b, first = steps, run.batch, run.kv_tokens
        context = n * first + b * n * (n - 1) / 2
        squared = n * first**2 + first * b * n * (n - 1) + b * b * (n - 1) * n * (2 * n - 1) / 6
        fixed, rate = run.batch_time_s, run.kv_read_s_per_token
        time = n * fixed + rate * context
        context_time = fixed * context + rate * squared
        time_squared = n * fixed**2 + 2 * fixed * rate * context + rate**2 * squared
        self._decode_only = self._decode_only.plus(
            (
                n,
                0,
                n * b,
                context,
                time,
                0,
                0,
                0,
                0,
                n * b * b,
                b * context,
                b * time,
                squared,
                context_time,
                time_squared,
            )
        )
        self._back_to_back_steps += (not first_rested) + (0 if run.is_paced else steps - 1)

    def totals(self, kv_capacity_tokens: int) -> StepTotals:
        """All steps so far."""
        return StepTotals(
            self._decode_only,
            self._with_prefill,
            self._back_to_back_steps,
            self._back_to_back_prefill_tokens,
            kv_capacity_tokens,
        )


@dataclass(slots=True)
class Counters:
    """See `IterationTotals`."""

    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    output_tokens: int = 0
    arrived: int = 0
    finished: int = 0
