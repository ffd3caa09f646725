"""What is expected of a configuration under a workload, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconfigure_policies.domain.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted quantity with the interval that should hold 95 of 100 outcomes; all in the quantity's own unit.

    Attributes:
        median: as likely to be exceeded as not.
        low, high: the interval's ends, `low <= median <= high`.
    """

    median: float
    low: float
    high: float

    @property
    def relative_width(self) -> float:
        """Width of the interval as a share of the median: 0 is certain."""
        return (self.high - self.low) / self.median if self.median else float("inf")


@dataclass(frozen=True, slots=True)
class WorkloadContext:
    """What a forecast is conditioned on; means over a window.

    Attributes:
        arrival_rate_rps: requests that arrive each second.
        prompt_tokens, output_tokens: of a request.
        prefix_hit_share: share of prompt tokens that the prefix cache holds, 0 to 1.
    """

    arrival_rate_rps: float
    prompt_tokens: float
    output_tokens: float
    prefix_hit_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """One configuration under one workload.

    Attributes:
        configuration: every knob of the space.
        context: the workload it holds for.
        energy_per_output_token_j: prefill and idle energy included, lower is better; None without energy data.
        throughput_tps: output tokens each second when saturated with requests of this shape, higher is better.
        ttft_p99_s, tpot_p99_s: tails at the context's arrival rate, lower is better; None where nothing was learned.
        feasibility: probability that a core boots and serves under it, 0 to 1.
        observations: how many observations of just this configuration stand behind it.
    """

    configuration: Configuration
    context: WorkloadContext
    energy_per_output_token_j: Estimate | None
    throughput_tps: Estimate | None
    ttft_p99_s: Estimate | None = None
    tpot_p99_s: Estimate | None = None
    feasibility: float = 1.0
    observations: int = 0

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """What was forecast, by name; without what nothing is known of."""
        named = {
            "energy_per_output_token_j": self.energy_per_output_token_j,
            "throughput_tps": self.throughput_tps,
            "ttft_p99_s": self.ttft_p99_s,
            "tpot_p99_s": self.tpot_p99_s,
        }
        return {name: estimate for name, estimate in named.items() if estimate is not None}
