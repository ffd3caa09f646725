"""What was asked of the engine and how it answered: requests, iterations, and windows over both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FinishReason(StrEnum):
    """How a request ended, in vLLM's words, with `error` for one that the engine failed."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One finished request, as the engine host saw it; times on the host's monotonic clock.

    Attributes:
        arrived_s: when the engine received it.
        ttft_s: arrival to first output token; None if it produced none.
        e2e_latency_s: arrival to the end.
        prompt_tokens: length of the prompt.
        cached_prompt_tokens: how many of them the prefix cache held.
        output_tokens: tokens generated.
        longest_gap_s: the longest time between two of its outputs.
        finish_reason: how it ended.
        replays: how many times it was moved to another core.
    """

    arrived_s: float
    ttft_s: float | None
    e2e_latency_s: float
    prompt_tokens: int
    cached_prompt_tokens: int
    output_tokens: int
    longest_gap_s: float
    finish_reason: FinishReason
    replays: int = 0

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first; None for fewer than two tokens."""
        if self.ttft_s is None or self.output_tokens < 2:
            return None
        return (self.e2e_latency_s - self.ttft_s) / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class IterationTotals:
    """Counters and gauges of the engine at one instant; counters only grow while the host lives.

    Attributes:
        at_s: host's monotonic time.
        iterations: engine outputs seen.
        prompt_tokens, cached_prompt_tokens, output_tokens: token counters.
        arrived, finished: request counters.
        preemptions: counter of requests that lost their KV cache.
        running, waiting: requests in the scheduler and in its queue, now.
        kv_cache_usage: share of KV blocks in use, 0 to 1.
        itl_s_histogram: counts of inter-token gaps per bucket of `ITL_BUCKETS_S`, counters.
    """

    at_s: float
    iterations: int
    prompt_tokens: int
    cached_prompt_tokens: int
    output_tokens: int
    arrived: int
    finished: int
    preemptions: int
    running: int
    waiting: int
    kv_cache_usage: float
    itl_s_histogram: tuple[int, ...] = ()


#: Upper edges of the inter-token-latency buckets, in seconds; a last bucket holds everything above.
ITL_BUCKETS_S: tuple[float, ...] = tuple(round(0.001 * 1.25**i, 6) for i in range(42))


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Quantiles of one latency over a window, in seconds; None where the window has no value."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class WorkloadWindow:
    """What a stretch of time asked of one configuration, and what it got.

    `energy_per_output_token_j` includes prefill and idle energy of the window. `energy_source` is
    `measured`, `integrated`, `estimated` or `unknown`; energy is None only when unknown. `started_s` is on the
    host's monotonic clock. `dropped` finished requests were overwritten before they were read: `slo_met` and the
    percentiles of requests lack them. `aborted` finished requests were given up by their clients while they still
    held the SLO: `slo_met` lacks them, and they are no misses either. `inherited` finished requests had begun before
    the core was there that served the window, or while a switch was under way: what they got says nothing of it, so
    that `slo_met` and the percentiles of requests lack them as well.
    """

    started_s: float
    duration_s: float
    arrivals: int
    finished: int
    slo_met: int
    prompt_tokens: int
    cached_prompt_tokens: int
    output_tokens: int
    preemptions: int
    mean_running: float
    mean_waiting: float
    ttft_s: Percentiles = Percentiles()
    itl_s: Percentiles = Percentiles()
    tpot_s: Percentiles = Percentiles()
    e2e_latency_s: Percentiles = Percentiles()
    energy_j: float | None = None
    energy_source: str = "unknown"
    energy_by_source_j: Mapping[str, float] = field(default_factory=dict)
    dropped: int = 0
    aborted: int = 0
    inherited: int = 0

    @property
    def arrival_rate_rps(self) -> float:
        """Requests that arrived each second."""
        return self.arrivals / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def judged(self) -> int:
        """Finished requests of which it is known whether they met the SLO under what served the window."""
        return self.finished - self.dropped - self.aborted - self.inherited

    @property
    def slo_attainment(self) -> float | None:
        """Share of the judged requests that met the SLO; None without any."""
        return self.slo_met / self.judged if self.judged > 0 else None

    @property
    def goodput_rps(self) -> float:
        """Finished requests each second that met the SLO."""
        return self.slo_met / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def output_throughput_tps(self) -> float:
        """Output tokens each second."""
        return self.output_tokens / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def mean_power_w(self) -> float | None:
        """Average power over the window, or None where energy is unknown."""
        if self.energy_j is None or self.duration_s <= 0:
            return None
        return self.energy_j / self.duration_s

    @property
    def energy_per_output_token_j(self) -> float | None:
        """Joules per output token, prefill and idle energy included; None without energy or tokens."""
        if self.energy_j is None or self.output_tokens == 0:
            return None
        return self.energy_j / self.output_tokens
