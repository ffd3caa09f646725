"""Windows summed up as the workload that forecasts are conditioned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

from reconfigure_policies.change_detection.climbing import Trend
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.workload import WorkloadWindow

#: Standard normal deviate below which 99 of 100 windows' arrivals lie.
_Z99 = 2.33


def usual_context(windows: Sequence[WorkloadWindow]) -> WorkloadContext | None:
    """Means over windows; None where nothing arrived or nothing finished."""
    arrivals = sum(window.arrivals for window in windows)
    finished = sum(window.finished for window in windows)
    prompt_tokens = sum(window.prompt_tokens for window in windows)
    output_tokens = sum(window.output_tokens for window in windows)
    if not (arrivals and finished and prompt_tokens and output_tokens):
        return None
    return WorkloadContext(
        arrival_rate_rps=arrivals / sum(window.duration_s for window in windows),
        prompt_tokens=prompt_tokens / arrivals,
        output_tokens=output_tokens / finished,
        prefix_hit_share=sum(window.cached_prompt_tokens for window in windows) / prompt_tokens,
    )


def busiest_context(windows: Sequence[WorkloadWindow]) -> WorkloadContext | None:
    """The usual requests at the rate that one window in a hundred exceeds; None as for `usual_context`.

    The spread is that of the windows seen, and at least that of independent arrivals.
    """
    usual = usual_context(windows)
    if usual is None:
        return None
    duration_s = _window_s(windows)
    mean = usual.arrival_rate_rps * duration_s
    square = sum((window.arrivals - mean) ** 2 for window in windows) / max(1, len(windows) - 1)
    spread = max(sqrt(mean), sqrt(square))
    return replace(usual, arrival_rate_rps=(mean + _Z99 * spread) / duration_s)


def busiest_ahead_rps(windows: Sequence[WorkloadWindow], trend: Trend) -> float:
    """The arrival rate that one window in a hundred exceeds once the load is where the trend leads.

    Args:
        windows: how long they are; at least one.
        trend: with how bursty the load is.
    """
    window_s = _window_s(windows)
    arrivals = trend.then_rps * window_s
    return (arrivals + _Z99 * sqrt(trend.burstiness * arrivals)) / window_s


def _window_s(windows: Sequence[WorkloadWindow]) -> float:
    return sum(window.duration_s for window in windows) / len(windows)
