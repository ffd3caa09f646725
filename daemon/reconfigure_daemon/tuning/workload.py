"""The load of a session: of a trace's lengths, or of what the store has seen. No prompt is ever kept."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from reconfigure_daemon.errors import RequestInvalid, RequestRefused
from reconfigure_daemon.tuning.request import TuneRequest
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.workload import WorkloadWindow

Lengths = Sequence[tuple[int, int]]


def workload_of(request: TuneRequest, windows: Sequence[WorkloadWindow]) -> tuple[WorkloadContext, Lengths]:
    """The workload to offer, and the lengths of its requests.

    Args:
        request: names a trace's lengths and rate, or wants what was recorded.
        windows: in which requests finished, newest first.

    Raises:
        RequestInvalid: if it names neither.
        RequestRefused: if nothing was recorded.
    """
    lengths, rate_rps = _recorded(windows) if request.recorded else (request.lengths, request.arrival_rate_rps)
    if not lengths or rate_rps is None:
        raise RequestInvalid("there is no load to offer; name a trace, or what the daemon has recorded")
    prompt, output = (fmean(each[i] for each in lengths) for i in (0, 1))
    return WorkloadContext(rate_rps, prompt, output), lengths


def _recorded(windows: Sequence[WorkloadWindow]) -> tuple[list[tuple[int, int]], float]:
    """Mean lengths of each window, and the median of their rates; a quiet hour does not thin a busy one out."""
    if not windows:
        raise RequestRefused(
            "nothing was recorded: no request has been served since the store began; send traffic first, or name a "
            "trace with --trace"
        )
    lengths = [
        (max(1, round(window.prompt_tokens / window.finished)), max(1, round(window.output_tokens / window.finished)))
        for window in windows
    ]
    return lengths, median(window.finished / window.duration_s for window in windows if window.duration_s > 0)
