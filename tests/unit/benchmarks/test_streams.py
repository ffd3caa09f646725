"""Where in time a stream stood still."""

from array import array

import pytest

from benchmarks.harness.streams import equal_requests, failures, longest_gap_within_s, output_times_s
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.results import RequestResult, RequestStatus


def stream(first_output_s: float | None, *gaps_s: float, status=RequestStatus.COMPLETED) -> RequestResult:
    request = PlannedRequest(3, 0.0, 8, 8)
    return RequestResult(request, 0.0, first_output_s, gaps_s=array("d", gaps_s), status=status, detail="as told")


def test_outputs_are_placed_in_time():
    """Each output comes a gap after the one before it."""
    assert output_times_s(stream(1.0, 0.5, 0.25)) == [1.0, 1.5, 1.75]
    assert output_times_s(stream(None)) == []


@pytest.mark.parametrize(
    ("span", "longest_s"),
    [
        ((1.2, 1.3), 0.5),  # inside the first gap
        ((1.6, 3.0), 2.0),  # begins in the second, ends in the third
        ((0.0, 10.0), 2.0),
        ((5.0, 6.0), None),  # after its end
        ((0.0, 0.5), None),  # before its begin
    ],
)
def test_only_gaps_that_touch_the_span_count(span, longest_s):
    """A long gap elsewhere says nothing of a cut; a stream without output around it has none."""
    assert longest_gap_within_s(stream(1.0, 0.5, 0.25, 2.0), *span) == longest_s


def test_a_stream_that_was_closed_by_its_benchmark_did_not_fail():
    """Completed and closed streams are well; every other end is told with its reason."""
    ends = [stream(1.0, status=status) for status in RequestStatus]
    assert failures(ends[:1] + ends[-1:]) == []
    assert failures([stream(1.0, status=RequestStatus.BROKEN)]) == ["request 3 broken: as told"]
    assert len(failures(ends)) == len(RequestStatus) - 2


def test_equal_requests_are_spaced():
    """Together or one by one, in order of arrival."""
    assert [request.due_s for request in equal_requests(3, 8, 8)] == [0, 0, 0]
    assert [request.due_s for request in equal_requests(3, 8, 8, spacing_s=0.5)] == [0, 0.5, 1]
