"""What a replay with switches is judged by: its losses, its outputs, its latencies."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from benchmarks.harness.rows import Row, at_most, exactly, shown
from benchmarks.harness.statistics import percentile
from reconfigure_daemon.load_generation.results import RequestResult, RequestStatus


def loss_rows(results: Sequence[RequestResult]) -> list[Row]:
    """Every request that ended badly is in one of these."""
    counts = {status: sum(result.status is status for result in results) for status in RequestStatus}
    bad = (RequestStatus.REFUSED, RequestStatus.TIMED_OUT, RequestStatus.UNFINISHED)
    return [
        exactly("requests lost in the switched replay", counts[RequestStatus.LOST], 0),
        exactly("requests broken in the switched replay", counts[RequestStatus.BROKEN], 0),
        exactly("requests truncated in the switched replay", counts[RequestStatus.TRUNCATED], 0),
        exactly("requests refused, timed out or unfinished in it", sum(counts[status] for status in bad), 0),
        shown("requests completed in it", counts[RequestStatus.COMPLETED]),
    ]


def identity_rows(
    switched: Sequence[RequestResult], first: Sequence[RequestResult], second: Sequence[RequestResult]
) -> list[Row]:
    """Requests with another output, with and without switches; the switched run against both others on average."""
    without = differing(first, second)
    with_switches = mean((differing(switched, first), differing(switched, second)))
    return [
        at_most("greedy outputs that differ, switched against unswitched", with_switches, without),
        shown("greedy outputs that differ between two unswitched runs", without),
    ]


def differing(one: Sequence[RequestResult], other: Sequence[RequestResult]) -> int:
    """How many requests have another output in the other run."""
    outputs = {result.request.index: result.output_digest for result in other}
    return sum(outputs[result.request.index] != result.output_digest for result in one)


def latency_rows(switched: Sequence[RequestResult], unswitched: Sequence[Sequence[RequestResult]]) -> list[Row]:
    """What the switches cost the replay's requests."""
    without = [result for run in unswitched for result in run]
    return [
        shown("TTFT p95 of the replay with switches", ttft_p95_s(switched), "s"),
        shown("TTFT p95 of the replay without", ttft_p95_s(without), "s"),
    ]


def ttft_p95_s(results: Sequence[RequestResult]) -> float | None:
    """Of the requests with any output."""
    return percentile((result.ttft_s for result in results if result.ttft_s is not None), 0.95)
