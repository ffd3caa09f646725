"""Quantiles from buckets stay within the buckets' error."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.monitoring.quantiles import (
    QUANTILES,
    RELATIVE_ERROR,
    SHORTEST_S,
    LatencySketch,
    bucket_quantile,
    itl_percentiles,
)
from reconfigure_policies.domain.workload import ITL_BUCKETS_S, Percentiles

LATENCIES = st.lists(st.floats(SHORTEST_S, 3600), min_size=1, max_size=300)


def exact(latencies_s: list[float], q: float) -> float:
    return sorted(latencies_s)[math.ceil(q * len(latencies_s)) - 1]


def sketch_of(latencies_s: list[float]) -> LatencySketch:
    sketch = LatencySketch()
    for latency_s in latencies_s:
        sketch.add(latency_s)
    return sketch


@given(LATENCIES, st.sampled_from(QUANTILES))
def test_a_sketch_is_within_one_percent(latencies_s: list[float], q: float) -> None:
    """Whatever the distribution, a sketch's quantile is within 1 % of the exact one."""
    assert sketch_of(latencies_s).quantile(q) == pytest.approx(exact(latencies_s, q), rel=RELATIVE_ERROR * 1.0001)


def test_nothing_and_next_to_nothing() -> None:
    """An empty sketch has no quantile; a latency of zero counts as the shortest."""
    assert LatencySketch().percentiles() == Percentiles()
    assert sketch_of([0.0]).quantile(0.5) == pytest.approx(SHORTEST_S, rel=RELATIVE_ERROR)


@given(st.lists(st.floats(ITL_BUCKETS_S[0], ITL_BUCKETS_S[-1]), min_size=1, max_size=300), st.sampled_from(QUANTILES))
def test_bucket_quantiles_are_within_the_exact_value_s_bucket(gaps_s: list[float], q: float) -> None:
    """Interpolation never leaves the bucket that holds the exact quantile."""
    counts = [0] * (len(ITL_BUCKETS_S) + 1)
    for gap_s in gaps_s:
        counts[bisect_left(ITL_BUCKETS_S, gap_s)] += 1
    found, upper = bucket_quantile(ITL_BUCKETS_S, counts, q), bisect_left(ITL_BUCKETS_S, exact(gaps_s, q))
    assert found is not None
    assert ITL_BUCKETS_S[upper] / 1.26 <= found <= ITL_BUCKETS_S[upper]


def test_interpolation_is_even_on_the_logarithmic_scale() -> None:
    """Half the counts of a bucket lie below the geometric mean of its edges."""
    assert bucket_quantile((1.0, 4.0), (0, 2, 0), 0.5) == pytest.approx(2.0)


def test_gaps_above_the_last_edge_are_at_least_that_long() -> None:
    """What no bucket bounds is given as the most that is known of it."""
    assert bucket_quantile((1.0, 4.0), (1, 0, 9), 0.9) == 4.0


@pytest.mark.parametrize("counts", [(), (0,) * 43, (1, 2, 3)])
def test_no_gaps_or_foreign_buckets_have_no_percentiles(counts: tuple[int, ...]) -> None:
    """Without gaps, or with buckets of another host version, nothing is claimed."""
    assert itl_percentiles(counts) == Percentiles()
