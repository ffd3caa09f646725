"""What clients saw of a server in a stretch of a replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from benchmarks.harness.statistics import percentile
from reconfigure_daemon.load_generation.results import RequestResult, RequestStatus


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a replay; latencies are those of the requests that were due in it, seconds.

    Attributes:
        output_tokens: that came in it, whenever their request was due.
        requests: that were due in it; without those that waited for their first token when the replay was stopped, and
            for which it was not too late then.
        good: of those, within the limits.
        failed: of those, not completed.
        late_ttft, late_tpot: of those, beyond one limit, or beyond both. Results from before 2026-11-29 lack them.
    """

    output_tokens: int
    requests: int
    good: int
    failed: int
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    tpot_p50_s: float | None
    tpot_p99_s: float | None
    late_ttft: int = 0
    late_tpot: int = 0

    @property
    def attainment(self) -> float:
        """Share of the requests within the limits; 1 without requests."""
        return self.good / self.requests if self.requests else 1.0


def seen_in(
    results: Sequence[RequestResult],
    from_s: float,
    to_s: float,
    ttft_limit_s: float = float("inf"),
    tpot_limit_s: float = float("inf"),
) -> Span:
    """Judge a stretch.

    Args:
        results: of a replay, which may have been stopped: streams that were open then count by what had come, and by
            how long nothing has, once that is longer than a token may take.
        from_s: its begin, seconds since the replay's start.
        to_s: its end.
        ttft_limit_s: of a good request.
        tpot_limit_s: likewise.
    """
    due = [r for r in results if from_s <= r.request.due_s < to_s and not _is_open(r, to_s - ttft_limit_s)]
    ended = [r for r in due if r.status is not RequestStatus.UNFINISHED]
    ttfts = [r.ttft_s for r in due if r.ttft_s is not None]
    paces_s = [_pace_s(r, to_s, tpot_limit_s) for r in due]
    tpots = [pace_s for pace_s in paces_s if pace_s is not None]
    first_late = [(r.ttft_s or float("inf")) > ttft_limit_s for r in due]
    rest_late = [(pace_s or 0.0) > tpot_limit_s for pace_s in paces_s]
    return Span(
        output_tokens=sum(tokens_between(r, from_s, to_s) for r in results),
        requests=len(due),
        good=sum(not first and not rest for first, rest in zip(first_late, rest_late, strict=True)),
        failed=sum(r.status is not RequestStatus.COMPLETED for r in ended),
        ttft_p50_s=percentile(ttfts, 0.5),
        ttft_p99_s=percentile(ttfts, 0.99),
        tpot_p50_s=percentile(tpots, 0.5),
        tpot_p99_s=percentile(tpots, 0.99),
        late_ttft=sum(first_late),
        late_tpot=sum(rest_late),
    )


def _is_open(result: RequestResult, from_s: float) -> bool:
    """Whether it still waited for its first token when the replay was stopped, and was due too late to be late."""
    return result.status is RequestStatus.UNFINISHED and result.first_output_s is None and result.request.due_s > from_s


def _pace_s(result: RequestResult, to_s: float, limit_s: float) -> float | None:
    """TPOT; of a stream that is open, its next token counts as coming now, if it should have come already."""
    if result.status is not RequestStatus.UNFINISHED or result.first_output_s is None:
        return tpot_s(result)
    taken_s = sum(result.gaps_s)
    open_s = to_s - result.first_output_s - taken_s
    return tpot_s(result) if open_s <= limit_s else (taken_s + open_s) / result.output_tokens


def tpot_s(result: RequestResult) -> float | None:
    """Mean time per output token after the first; None for fewer than two."""
    return sum(result.gaps_s) / (result.output_tokens - 1) if result.output_tokens > 1 else None


def tokens_between(result: RequestResult, from_s: float, to_s: float) -> int:
    """Output tokens that came in a stretch of the replay; with one token in each event, as vLLM streams."""
    if result.first_output_s is None:
        return 0
    moments_s: Iterable[float] = accumulate(result.gaps_s, initial=result.first_output_s)
    return sum(from_s <= moment_s < to_s for moment_s in moments_s)
