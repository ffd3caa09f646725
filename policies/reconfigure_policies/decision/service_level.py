"""Whether a forecast holds the service level: by its interval's upper end, so that it is not left to chance."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isinf

from reconfigure_policies.domain.forecast import Estimate, Forecast
from reconfigure_policies.domain.objective import ServiceLevelObjective

#: Share of what a full core gives beyond which requests would queue up in every burst.
_FULL = 0.9

#: Capacities that are this near to each other, as a share, are taken to be equal.
AS_MUCH = 0.97


def broken_limit(
    forecast: Forecast,
    slo: ServiceLevelObjective,
    *,
    sure: bool = True,
    free: float = 0.0,
    most_tps: float = inf,
) -> str | None:
    """The first limit that would not hold, with its numbers; None if all do.

    A limit on a latency that nothing was learned of does not hold. Nor does one on the time until a first token, or
    until the end, where nearly all is asked for that the core can give and another could give more: what a full core
    gives is foretold more surely than the tails of one that fills up.

    Args:
        forecast: of the workload in question.
        slo: limits.
        sure: judge the upper end of the interval rather than its median.
        free: share of each limit that must be left.
        most_tps: what the most capable candidate gives when full under this workload; see `most_of`.
    """
    judged = (
        ("TTFT", forecast.ttft_p99_s, slo.ttft_s),
        ("TPOT", forecast.tpot_p99_s, slo.tpot_s),
        ("the latency", _e2e(forecast), slo.e2e_latency_s),
    )
    for name, estimate, limit_s in judged:
        if limit_s is None:
            continue
        if estimate is None:
            return f"{name} is not known, and {limit_s:g} s is its limit"
        value_s = estimate.high if sure else estimate.median
        if isinf(value_s):
            return f"{name} has no end, since requests would queue up"
        if value_s > limit_s * (1 - free):
            return f"{name} p99 may reach {value_s:.3g} s of {limit_s:g} s"
    if slo.ttft_s is None and slo.e2e_latency_s is None:
        return None
    return _overfull(forecast, free, most_tps)


def most_of(forecasts: Iterable[Forecast | None]) -> float:
    """Output tokens each second that the most capable of these gives when full; 0 where nothing is known of that."""
    known = (each.throughput_tps for each in forecasts if each is not None)
    return max((each.median for each in known if each is not None), default=0.0)


def _overfull(forecast: Forecast, free: float, most_tps: float) -> str | None:
    if forecast.throughput_tps is None or forecast.throughput_tps.median >= AS_MUCH * most_tps:
        return None
    asked_tps = forecast.context.arrival_rate_rps * forecast.context.output_tokens
    full_tps = forecast.throughput_tps.median
    if asked_tps <= _FULL * (1 - free) * full_tps:
        return None
    return f"{asked_tps:.0f} output tokens/s are asked for of {full_tps:.0f} that it can give"


def _e2e(forecast: Forecast) -> Estimate | None:
    """From arrival to the end of an answer of mean length, both parts at their tails."""
    ttft, tpot = forecast.ttft_p99_s, forecast.tpot_p99_s
    if ttft is None or tpot is None:
        return None
    gaps = max(0.0, forecast.context.output_tokens - 1)
    return Estimate(ttft.median + gaps * tpot.median, ttft.low + gaps * tpot.low, ttft.high + gaps * tpot.high)
