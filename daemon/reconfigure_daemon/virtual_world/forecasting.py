"""Forecasts in the virtual world: what a well-fitted surrogate would say, errors and honest intervals included."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, inf, isfinite, sqrt

from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.step_cost import Workload

#: A prompt that is longer than 99 of 100 others, against the mean, as long as no window has shown it.
_USUAL_TAIL = 5.0

#: Standard normal deviate of a 95 % interval.
_Z95 = 1.96


@dataclass(frozen=True, slots=True)
class ForecastError:
    """Relative standard deviations of what is forecast against what the model does.

    Attributes:
        energy, latency, throughput: one draw for each configuration, which stays.
        window: what a few windows' mean swings by, which the intervals allow for.
    """

    energy: float = 0.03
    latency: float = 0.05
    throughput: float = 0.03
    window: float = 0.03


@dataclass(slots=True)
class ImperfectForecaster:
    """Asks the window model, and is off by a constant factor for each configuration and quantity.

    Attributes:
        model: the truth of the virtual world.
        candidates: what is forecast.
        error: how far off it is.
        seed: of the draws.
        prompt_tail: the tail of prompts against their mean, as last seen.
    """

    model: WindowModel
    candidates: Sequence[Configuration]
    error: ForecastError
    seed: int
    prompt_tail: float = _USUAL_TAIL
    _factors: dict[Configuration, tuple[float, float, float]] = field(default_factory=dict)

    def saw(self, traffic: WindowTraffic) -> None:
        """A window tells how long its long prompts are."""
        if traffic.arrivals > 0 and traffic.prompt_tokens > 0:
            seen = traffic.prompt_tail_tokens * traffic.arrivals / traffic.prompt_tokens
            self.prompt_tail += 0.1 * (seen - self.prompt_tail)

    def forecasts(self, context: WorkloadContext, *, with_throughput: bool = True) -> tuple[Forecast, ...]:
        """One for each candidate; one past whose capacity the workload is has latencies without end.

        Args:
            context: the workload.
            with_throughput: capacities take a dozen times as long as everything else.
        """
        return tuple(self._forecast(each, context, with_throughput) for each in self.candidates)

    def _forecast(self, configuration: Configuration, context: WorkloadContext, with_throughput: bool) -> Forecast:
        prompt = context.prompt_tokens
        output = max(1.0, context.output_tokens)
        workload = Workload(context.arrival_rate_rps, prompt, prompt, output, self.prompt_tail * prompt)
        steady = self.model.steady(workload, configuration)
        energy_factor, latency_factor, throughput_factor = self._factors_of(configuration)
        if not isfinite(steady.power_w):
            never = Estimate(inf, inf, inf)
            return Forecast(configuration, context, None, None, never, never)
        capacity = self.model.capacity_rps(workload, configuration) * output if with_throughput else None
        return Forecast(
            configuration,
            context,
            self._estimate(steady.energy_per_output_token_j * energy_factor, self.error.energy),
            None if capacity is None else self._estimate(capacity * throughput_factor, self.error.throughput),
            self._estimate(steady.ttft_tail_s * latency_factor, self.error.latency),
            self._estimate(steady.tpot_tail_s * latency_factor, self.error.latency),
        )

    def _estimate(self, median: float, error: float) -> Estimate:
        reach = exp(_Z95 * sqrt(error**2 + self.error.window**2))
        return Estimate(median, median / reach, median * reach)

    def _factors_of(self, configuration: Configuration) -> tuple[float, float, float]:
        if configuration not in self._factors:
            # Configurations hash differently in each process, their names do not.
            draw = random.Random(f"{self.seed} {configuration}")  # noqa: S311 - to be drawn again, no secret
            error = self.error
            factors = tuple(exp(draw.gauss(0, each)) for each in (error.energy, error.latency, error.throughput))
            self._factors[configuration] = (factors[0], factors[1], factors[2])
        return self._factors[configuration]
