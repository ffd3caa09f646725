"""Percentiles, goodput, energy and counts."""

import json
from array import array
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.load_generation.energy import Controller, EnergyMark, account_energy, read_energy
from reconfigure_daemon.load_generation.percentiles import LatencySummary, quantile
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.report import ERROR_EXAMPLES, report_of
from reconfigure_daemon.load_generation.results import ReplayRun, RequestResult, RequestStatus
from reconfigure_policies.domain.objective import ServiceLevelObjective

NO_ENERGY = account_energy(EnergyMark(None, None, "unknown", "none"), EnergyMark(None, None, "unknown"), 1)


def result(index: int, ttft_s: float = 0.1, status: RequestStatus = RequestStatus.COMPLETED) -> RequestResult:
    """Due at its index in seconds, five tokens 0.1 s apart."""
    return RequestResult(
        PlannedRequest(index, float(index), 10, 5),
        sent_s=index + 0.01,
        first_output_s=index + ttft_s,
        ended_s=index + ttft_s + 0.4,
        output_tokens=5,
        gaps_s=array("d", [0.1, 0.1, 0.1, 0.1]),
        status=status,
        detail="" if status is RequestStatus.COMPLETED else "why",
    )


def run_of(*results: RequestResult) -> ReplayRun:
    return ReplayRun(len(results), list(results), datetime(2026, 11, 21, tzinfo=UTC), 10.0, interrupted=False)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_stay_between_the_values(values: list[float], share: float):
    """A quantile lies within the values, between the two neighbours of its place."""
    ordered = sorted(values)
    below = ordered[int(share * (len(ordered) - 1))]
    assert below <= quantile(ordered, share) <= ordered[-1]


def test_percentiles_are_exact():
    """The percentiles of 0 to 100 are themselves, and their order does not matter."""
    summary = LatencySummary.of(float(value) for value in reversed(range(101)))
    assert (summary.p50, summary.p90, summary.p95, summary.p99, summary.max) == (50, 90, 95, 99, 100)
    assert (summary.mean, summary.count) == (50, 101)


def test_without_values_there_are_no_percentiles():
    """A latency that was never seen has no figures rather than zeros."""
    assert LatencySummary.of([]).model_dump(exclude_none=True) == {"count": 0}


def test_latencies_come_from_the_requests():
    """TTFT and end to end count from due, TPOT is the time after the first token over the tokens after it."""
    report = report_of(run_of(result(0), result(1, ttft_s=0.3)), ServiceLevelObjective(), NO_ENERGY)
    assert report.ttft_s.max == pytest.approx(0.3)
    assert report.ttft_from_send_s.max == pytest.approx(0.29)
    assert report.e2e_latency_s.max == pytest.approx(0.7)
    assert report.tpot_s.p50 == pytest.approx(0.1)
    assert (report.itl_s.count, report.longest_gap_s.count) == (8, 2)
    assert report.output_throughput_tps == 1.0


def test_goodput_counts_completed_requests_within_the_slo():
    """A slow request and a broken one both count against the attainment, whatever the broken one's latency."""
    run = run_of(result(0), result(1, ttft_s=0.5), result(2, status=RequestStatus.BROKEN), result(3))
    slo = report_of(run, ServiceLevelObjective(ttft_s=0.2), NO_ENERGY).slo
    assert (slo.met, slo.goodput_rps, slo.attainment) == (2, 0.2, 0.5)


def test_counts_add_up_and_errors_are_shown_in_part():
    """Each request has one status, their sum is what was sent, and the first twenty faults are told."""
    lost = [result(index, status=RequestStatus.LOST) for index in range(ERROR_EXAMPLES + 5)]
    report = report_of(run_of(result(100), *lost), ServiceLevelObjective(), NO_ENERGY)
    counts = report.counts
    assert (counts.sent, counts.completed, counts.lost, counts.late) == (26, 1, 25, 0)
    assert [error.request for error in report.errors] == list(range(ERROR_EXAMPLES))
    assert not report.clean


def test_a_report_is_json():
    """The report turns into JSON and keeps what it was given of its making."""
    report = report_of(
        run_of(result(0)), ServiceLevelObjective(), NO_ENERGY, trace={"path": "t"}, arguments={"speed": 4.0}
    )
    data = json.loads(report.model_dump_json())
    assert (data["trace"], data["arguments"], data["counts"]["completed"]) == ({"path": "t"}, {"speed": 4.0}, 1)
    assert report.clean


def test_energy_is_the_difference_of_two_readings():
    """Joules of a replay are the counter's difference, over its output tokens, with the counter's own label."""
    account = account_energy(EnergyMark(7, 100.0, "measured"), EnergyMark(7, 150.0, "estimated"), 200)
    assert (account.energy_j, account.energy_per_output_token_j, account.source) == (50.0, 0.25, "estimated")


def test_energy_of_no_tokens_has_no_quotient():
    """A replay without output has joules, but none per token."""
    account = account_energy(EnergyMark(7, 1.0, "measured"), EnergyMark(7, 2.0, "measured"), 0)
    assert (account.energy_j, account.energy_per_output_token_j) == (1.0, None)


def test_a_restarted_controller_has_no_energy_to_tell():
    """Another controller's counter began at nought, so the difference is not given, and the reason is."""
    account = account_energy(EnergyMark(7, 100.0, "measured"), EnergyMark(8, 3.0, "measured"), 10)
    assert account.energy_j is None
    assert "restarted" in account.reason


async def test_energy_is_read_from_the_controller(server):
    """The counter is read from the status, whatever else the status says."""
    server.statuses = [{"pid": 7, "version": "9", "energy": {"source": "measured", "energy_j": 5.5, "power_w": 1}}]
    assert await read_energy(Controller(server.url, "t0ken")) == EnergyMark(7, 5.5, "measured")
    assert server.headers[0]["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (None, "answers HTTP 404"),
        ({"hello": 1}, "is not the controller's"),
        ({"pid": 7, "energy": {"source": "unknown", "energy_j": None}}, "no source of energy readings"),
    ],
)
async def test_energy_that_cannot_be_read_has_a_reason(server, status, fault: str):
    """Without a controller or a counter there is no figure, and one sentence says why."""
    server.statuses = [status] if status else []
    mark = await read_energy(Controller(server.url))
    assert mark.energy_j is None
    assert fault in mark.fault
    assert fault in account_energy(mark, mark, 10).reason
