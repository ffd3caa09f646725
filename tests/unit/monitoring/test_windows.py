"""Telemetry becomes windows: nothing lost, nothing counted twice, nothing mixed."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.monitoring.windows import WindowBuilder
from reconfigure_policies.decision.misses import misses
from reconfigure_policies.domain.energy import EnergySource
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import FinishReason, Percentiles, RequestRecord, WorkloadWindow
from tests.unit.monitoring.telemetry import Host, measured, reading, record

NO_LIMIT = ServiceLevelObjective()


def builder(length_s: float = 3.0, slo: ServiceLevelObjective = NO_LIMIT) -> WindowBuilder:
    return WindowBuilder(slo, length_s)


def test_a_window_counts_what_happened_between_its_edges() -> None:
    """Counters are differenced from the first batch, whose own requests belong to no window."""
    host, windows = Host(), builder(2.0, ServiceLevelObjective(ttft_s=0.2))
    assert windows.add(host.batch([record()], arrived=5), measured(0, 1000)) == []
    assert windows.add(host.batch([record(ttft_s=0.1)], arrived=1, preemptions=2), measured(1, 1100)) == []
    [window] = windows.add(host.batch([record(ttft_s=0.3), record(ttft_s=0.1)], arrived=3), measured(2, 1300))
    assert (window.started_s, window.duration_s) == (1001, 2)
    assert (window.arrivals, window.finished, window.slo_met, window.preemptions) == (4, 3, 2, 2)
    assert (window.prompt_tokens, window.cached_prompt_tokens, window.output_tokens) == (300, 60, 30)
    assert (window.energy_j, window.energy_source) == (300, "measured")
    assert (window.mean_power_w, window.energy_per_output_token_j) == (150, 10)


def test_gauges_are_weighted_by_time() -> None:
    """A queue that stood for three seconds weighs more than one that stood for one."""
    host, windows = Host(), builder(4.0)
    windows.add(host.batch(running=8, waiting=4), None)
    windows.add(host.batch(seconds=3, running=8, waiting=4), None)
    [window] = windows.add(host.batch(seconds=1, running=0, waiting=0), None)
    assert (window.mean_running, window.mean_waiting) == (7, 3.5)


def test_inter_token_latency_is_the_window_s_own() -> None:
    """Gaps of earlier windows do not colour the percentiles of this one."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(gaps_s=[5.0] * 1000), None)
    [window] = windows.add(host.batch(gaps_s=[0.02] * 99 + [0.5]), None)
    assert window.itl_s.p50 == pytest.approx(0.02, rel=0.25)
    assert window.itl_s.p99 == pytest.approx(0.02, rel=0.25)
    [window] = windows.add(host.batch(), None)
    assert window.itl_s == Percentiles()


def test_requests_without_a_first_token_have_no_ttft() -> None:
    """An aborted request counts, and its latency too, but nothing is made up for its tokens."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(), None)
    [window] = windows.add(host.batch([record(ttft_s=None, output_tokens=0)]), None)
    assert (window.finished, window.ttft_s, window.tpot_s) == (1, Percentiles(), Percentiles())
    assert window.e2e_latency_s.p50 == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("successor", [Host("b", 1002.0), Host("a", 1002.0), Host("a", 0.0)])
def test_another_host_or_counters_that_went_back_start_anew(successor: Host) -> None:
    """Counters of two lives are never subtracted: the window in the making is dropped."""
    host, windows = Host(), builder(2.0)
    windows.add(host.batch(arrived=9), None)
    windows.add(host.batch(arrived=9), None)
    assert windows.add(successor.batch(arrived=1), None) == []
    assert windows.current() is None
    windows.add(successor.batch(arrived=2), None)
    [window] = windows.add(successor.batch(arrived=4), None)
    assert window.arrivals == 6


def test_restart_begins_with_the_next_batch() -> None:
    """After a change no window holds anything from before it, nor the batch that straddles it."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(), None)
    windows.restart()
    assert windows.add(host.batch(arrived=7), None) == []
    [window] = windows.add(host.batch(arrived=2), None)
    assert window.arrivals == 2


def test_the_window_in_the_making_can_be_seen() -> None:
    """The present window shows what it has so far, without being ended by it."""
    host, windows = Host(), builder(2.0)
    assert windows.current() is None
    windows.add(host.batch(), measured(0, 0))
    assert windows.current() is None
    windows.add(host.batch(arrived=3), measured(1, 50))
    current = windows.current()
    assert current is not None
    assert (current.duration_s, current.arrivals, current.energy_j) == (1, 3, 50)
    [window] = windows.add(host.batch(arrived=3), measured(2, 90))
    assert (window.arrivals, window.energy_j) == (6, 90)


def test_dropped_records_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """Requests whose records were overwritten still count as finished, are marked in the window and logged."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(dropped=50), None)
    [window] = windows.add(host.batch([record()], dropped=4), None)
    assert (window.finished, window.slo_met, window.dropped) == (5, 1, 4)
    assert window.slo_attainment == 1  # of the one that was seen
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert caplog.text.count("4 finished requests were overwritten") == 1


@pytest.mark.parametrize(
    ("given_up", "aborted"),
    [
        (record(latency_s=1.0, finish_reason=FinishReason.ABORT), 1),
        (record(latency_s=0.15, ttft_s=None, output_tokens=0, finish_reason=FinishReason.ABORT), 1),
        (record(latency_s=0.3, ttft_s=0.1, output_tokens=1, finish_reason=FinishReason.ABORT), 1),
        (record(latency_s=30.0, ttft_s=None, output_tokens=0, finish_reason=FinishReason.ABORT), 0),
        (record(latency_s=1.0, ttft_s=0.3, finish_reason=FinishReason.ABORT), 0),
        (record(latency_s=30.0, finish_reason=FinishReason.ABORT), 0),
        (record(latency_s=1.0, finish_reason=FinishReason.ERROR), 0),
    ],
    ids=["stopped", "before a token", "after one", "never a token", "late", "stuck", "failed"],
)
def test_what_a_client_gave_up_inside_the_slo_is_counted_apart(given_up: RequestRecord, aborted: int) -> None:
    """It is neither good nor a miss; one whose client had waited for longer than a limit, or that failed, is a miss."""
    host, windows = Host(), builder(1.0, ServiceLevelObjective(ttft_s=0.2, tpot_s=0.2))
    windows.add(host.batch(), None)
    [window] = windows.add(host.batch([record(), given_up]), None)
    assert (window.finished, window.slo_met, window.aborted) == (2, 1, aborted)
    assert misses([window]) == (1 - aborted, 2 - aborted)
    assert window.slo_attainment == 1 / (2 - aborted)


def test_what_began_before_the_core_served_is_not_judged_by_what_it_got() -> None:
    """A request that waited for a switch says nothing of the core that it then ended in."""
    host, windows = Host(), builder(1.0, ServiceLevelObjective(ttft_s=0.2, tpot_s=0.2))
    windows.core_since_s = 900.0
    windows.add(host.batch(), None)
    late = record(ttft_s=50.0, latency_s=60.0, arrived_s=880.0)
    [window] = windows.add(host.batch([late, record(arrived_s=900.0)]), None)
    assert (window.finished, window.inherited, window.judged, window.slo_met) == (2, 1, 1, 1)
    assert window.ttft_s.p99 == pytest.approx(0.1, rel=0.02)
    assert window.output_tokens == 20


def test_without_limits_whatever_a_client_gave_up_is_no_miss() -> None:
    """Nobody can wait for too long where nothing is demanded."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(), None)
    [window] = windows.add(host.batch([record(latency_s=3600, finish_reason=FinishReason.ABORT)]), None)
    assert (window.slo_met, window.aborted) == (0, 1)


def test_a_new_slo_holds_from_the_next_window() -> None:
    """Goodput of one window is judged by one SLO."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(), None)
    windows.slo = ServiceLevelObjective(ttft_s=0.01)
    slo_met = [windows.add(host.batch([record()]), None)[0].slo_met for _ in range(2)]
    assert slo_met == [1, 0]


def test_energy_is_unknown_with_a_device_that_was_unknown_in_between() -> None:
    """A GPU lost in the middle makes the window's energy None, never less; what was known is kept by source."""
    host, windows = Host(), builder(2.0)
    for at_s, source in enumerate([EnergySource.MEASURED, EnergySource.UNKNOWN, EnergySource.MEASURED]):
        found = windows.add(
            host.batch([record()]), reading(at_s, gpu0=(100, source), gpu1=(at_s * 10, EnergySource.INTEGRATED))
        )
    assert (found[0].energy_j, found[0].energy_source) == (None, "unknown")
    assert (found[0].mean_power_w, found[0].energy_per_output_token_j) == (None, None)
    assert found[0].energy_by_source_j == {"integrated": 20}


def test_one_estimate_makes_the_sum_an_estimate() -> None:
    """The window's source is the weakest of its devices', and its joules are kept apart by source."""
    host, windows = Host(), builder(1.0)
    for at_s in (0, 1):
        found = windows.add(
            host.batch(),
            reading(at_s, gpu0=(at_s * 7, EnergySource.MEASURED), host=(at_s * 5, EnergySource.ESTIMATED)),
        )
    assert (found[0].energy_j, found[0].energy_source) == (12, "estimated")
    assert found[0].energy_by_source_j == {"measured": 7, "estimated": 5}


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (None, measured(1, 5)),
        (measured(0, 5), None),
        (measured(0, 5), measured(1, 4)),
        (measured(0, 5), reading(1)),
        (reading(0), reading(1)),
        (measured(0, 5), reading(1, gpu0=(9, EnergySource.MEASURED), gpu1=(9, EnergySource.MEASURED))),
    ],
)
def test_edges_that_do_not_match_leave_energy_unknown(first: object, last: object) -> None:
    """No reading, fewer joules than before, or other devices at the edges: the difference means nothing."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(), first)  # type: ignore[arg-type] # parametrised
    [window] = windows.add(host.batch(), last)  # type: ignore[arg-type] # parametrised
    assert (window.energy_j, window.energy_source) == (None, "unknown")


BATCHES = st.lists(
    st.tuples(
        st.lists(st.floats(0.001, 100), max_size=5),  # latencies of the requests that finish
        st.integers(0, 9),  # arrivals
        st.floats(0.001, 5),  # seconds
        st.floats(0, 1000),  # joules
        st.integers(0, 50),  # running
    ),
    min_size=2,
    max_size=40,
)


@given(BATCHES, st.floats(0.1, 10))
def test_windows_conserve_counts_time_and_energy(
    batches: list[tuple[list[float], int, float, float, int]], length_s: float
) -> None:
    """Summed over all windows and the present one, every counter is exactly what the host counted since the start."""
    host, windows = Host(), WindowBuilder(NO_LIMIT, length_s)
    start, energy_j = host.batch(), 0.0
    windows.add(start, measured(0, 0))
    found: list[WorkloadWindow] = []
    for latencies_s, arrived, seconds, joules, running in batches:
        energy_j += joules
        records = [record(latency_s=latency_s, ttft_s=None) for latency_s in latencies_s]
        batch = host.batch(records, arrived=arrived, seconds=seconds, gaps_s=latencies_s, running=running)
        found += windows.add(batch, measured(0, energy_j))
    assert all(window.duration_s >= length_s for window in found)
    found += [current] if (current := windows.current()) else []

    assert sum(window.arrivals for window in found) == host.arrived
    assert sum(window.finished for window in found) == sum(window.slo_met for window in found) == host.finished
    assert sum(window.output_tokens for window in found) == host.output_tokens
    assert sum(window.duration_s for window in found) == pytest.approx(host.at_s - start.totals.at_s)
    assert sum(window.energy_j or 0 for window in found) == pytest.approx(energy_j)
    assert all(window.energy_j is not None and window.energy_j >= 0 for window in found)
    assert all(0 <= window.mean_running <= max(batch[4] for batch in batches) for window in found)


def test_two_batches_of_the_same_instant_are_no_fault() -> None:
    """A window of no duration is neither shown nor divided by."""
    host, windows = Host(), builder(1.0)
    windows.add(host.batch(seconds=0), None)
    assert windows.add(host.batch(seconds=0, arrived=2, running=3), None) == []
    assert windows.current() is None
    [window] = windows.add(host.batch(running=3), None)
    assert (window.arrivals, window.mean_running) == (2, 3)
