"""Trials: what one configuration did under one workload. All that surrogates learn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.history import Observation
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow


class Quantity(StrEnum):
    """What a surrogate predicts, named as in `Forecast`; all are positive, and modelled as logarithms."""

    ENERGY = "energy_per_output_token_j"
    THROUGHPUT = "throughput_tps"
    TTFT = "ttft_p99_s"
    TPOT = "tpot_p99_s"

    @property
    def is_maximised(self) -> bool:
        """Whether more is better."""
        return self is Quantity.THROUGHPUT


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its own uncertainty.

    Attributes:
        value: above 0, in the quantity's unit.
        relative_sd: standard deviation of the value as a share of it, from the spread within the window, at least 0.
            What varies between windows is inferred on top of it; leave it 0 where the spread is not known.
    """

    value: float
    relative_sd: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration under one workload, measured, or found not to work.

    Attributes:
        configuration: every knob of the space; further knobs are ignored.
        context: the workload that it served, or was meant to.
        at: when it ended, wall-clock seconds.
        measured: what was measured; a quantity that was not is left out, never given a penalty value.
        feasible: whether a core booted and served under the configuration.
        reason: why not, in the engine's words; "" for a feasible trial.
    """

    configuration: Configuration
    context: WorkloadContext
    at: float
    measured: Mapping[Quantity, Measured] = field(default_factory=dict)
    feasible: bool = True
    reason: str = ""


#: A window is saturated when requests queued throughout it; only then do its tokens per second tell the capacity.
SATURATED_MEAN_WAITING = 1.0

#: Standard deviations by which the requests of a steady window that arrived and that finished may differ.
_UNSTEADY_SD = 3.0


def trial_from_observation(observation: Observation) -> Trial:
    """What a settled window teaches; throughput only if the window was saturated, and the rest only if it was steady.

    While a queue builds up or is worked off, what requests get is owed to the load before, and not to the window's.
    """
    window = observation.window
    measured = measured_in(window)
    if not is_steady(window):
        measured = {name: value for name, value in measured.items() if name is Quantity.THROUGHPUT}
    return Trial(observation.configuration, context_of(window), observation.at, measured)


def trial_from_failed_boot(configuration: Configuration, context: WorkloadContext, at: float, reason: str) -> Trial:
    """A label for the feasibility model: this configuration did not boot, ran out of memory or did not answer.

    Args:
        configuration: what was asked for.
        context: the workload at that time.
        at: wall-clock seconds.
        reason: the engine's own words.
    """
    return Trial(configuration, context, at, feasible=False, reason=reason)


def context_of(window: WorkloadWindow) -> WorkloadContext:
    """Means over a window, of the requests that it finished."""
    finished = max(window.finished, 1)
    hits = window.cached_prompt_tokens / window.prompt_tokens if window.prompt_tokens else 0.0
    return WorkloadContext(
        window.arrival_rate_rps, window.prompt_tokens / finished, window.output_tokens / finished, min(hits, 1.0)
    )


def measured_in(window: WorkloadWindow) -> dict[Quantity, Measured]:
    """Every quantity that the window tells, with the spread that its number of requests leaves."""
    spread = rate_relative_sd(window)
    found: dict[Quantity, Measured] = {}
    energy_j = window.energy_per_output_token_j
    if energy_j is not None and energy_j > 0:
        found[Quantity.ENERGY] = Measured(energy_j, spread)
    if window.mean_waiting >= SATURATED_MEAN_WAITING and window.output_throughput_tps > 0:
        found[Quantity.THROUGHPUT] = Measured(window.output_throughput_tps, spread)
    for quantity, latency in ((Quantity.TTFT, window.ttft_s), (Quantity.TPOT, window.tpot_s)):
        if latency.p99 is not None and latency.p99 > 0:
            found[quantity] = Measured(latency.p99, tail_relative_sd(latency, window.finished))
    return found


def is_steady(window: WorkloadWindow) -> bool:
    """Whether about as many requests finished as arrived, as far as chance explains of two independent counts."""
    moved = window.arrivals + window.finished
    return abs(window.arrivals - window.finished) <= _UNSTEADY_SD * math.sqrt(moved)


def rate_relative_sd(window: WorkloadWindow) -> float:
    """Spread of a window's tokens from the requests that its edges cut.

    About `mean_running` requests are cut at each edge, each by half its tokens on average with a standard deviation of
    1/sqrt(12) of them, so that the tokens of `n` requests vary by sqrt(2 running / 12) / n.
    """
    if window.finished <= 0:
        return 1.0
    return math.sqrt(2 * max(window.mean_running, 1.0) / 12) / window.finished


def tail_relative_sd(latency: Percentiles, count: int) -> float:
    """Spread of a window's 99th percentile, for a tail that is exponential beyond its 90th.

    The scale of the tail is `b = (p99 - p90) / ln 10`, its density at p99 is `0.01 / b`, and a sample quantile has the
    variance `p (1 - p) / (n f^2)` (David and Nagaraja 2003, Order Statistics, 10.2).

    Args:
        latency: of the window, with a p99.
        count: of requests behind it.
    """
    if latency.p99 is None or latency.p99 <= 0 or count <= 0:
        return 1.0
    lower = latency.p90 if latency.p90 is not None else 0.0
    scale = (latency.p99 - lower) / math.log(10)
    return min(1.0, scale * math.sqrt(99 / count) / latency.p99)
