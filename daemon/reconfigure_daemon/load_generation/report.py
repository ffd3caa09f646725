"""The report of a replay: latencies, goodput, energy and counts, as JSON and for the table."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reconfigure_daemon import __version__
from reconfigure_daemon.load_generation.energy import EnergyAccount
from reconfigure_daemon.load_generation.percentiles import LatencySummary
from reconfigure_daemon.load_generation.results import ReplayRun, RequestResult, RequestStatus
from reconfigure_policies.domain.objective import ServiceLevelObjective

#: Requests that did not complete and are shown with what happened to them.
ERROR_EXAMPLES = 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class RequestCounts(_Part):
    """Requests by how they ended (see `RequestStatus`); `sent` is their sum, `late` is counted beside it."""

    planned: int
    sent: int
    completed: int
    truncated: int
    broken: int
    lost: int
    refused: int
    timed_out: int
    unfinished: int
    late: int


class SloAttainment(_Part):
    """The service level asked for, in seconds (None: no limit), and how far it was held.

    `goodput_rps` is completed requests within every limit, per second of the replay; `attainment` is their share of
    all that were sent, so that a lost request counts against it.
    """

    ttft_s: float | None
    tpot_s: float | None
    e2e_latency_s: float | None
    met: int
    goodput_rps: float
    attainment: float | None


class ErrorExample(_Part):
    """A request that did not complete."""

    request: int
    status: RequestStatus
    detail: str


class ReplayReport(_Part):
    """What `reconfigure replay` found.

    Percentiles are exact: every value of the run is kept. TTFT and end-to-end latency count from when a request was
    due; `*_from_send_s` count from when it left, and the two differ where the generator fell behind. TTFT is of every
    request with an output, gaps (`itl_s`, `longest_gap_s`) of every stream, TPOT and end-to-end of completed requests.
    """

    date: str
    trace: dict[str, Any]
    arguments: dict[str, Any]
    versions: dict[str, str | None]
    interrupted: bool
    duration_s: float
    counts: RequestCounts
    ttft_s: LatencySummary
    itl_s: LatencySummary
    tpot_s: LatencySummary
    e2e_latency_s: LatencySummary
    longest_gap_s: LatencySummary
    ttft_from_send_s: LatencySummary
    e2e_latency_from_send_s: LatencySummary
    slo: SloAttainment
    prompt_tokens: int
    output_tokens: int
    output_throughput_tps: float
    energy: EnergyAccount
    errors: list[ErrorExample] = Field(max_length=ERROR_EXAMPLES)

    @property
    def clean(self) -> bool:
        """Whether every planned request was sent and completed."""
        return self.counts.planned == self.counts.sent == self.counts.completed


def report_of(
    run: ReplayRun,
    slo: ServiceLevelObjective,
    energy: EnergyAccount,
    *,
    trace: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    server_version: str | None = None,
) -> ReplayReport:
    """Sum up a run.

    Args:
        run: from `replay_trace`.
        slo: what counts as good.
        energy: from `account_energy`.
        trace: copied into the report: which one, in which format.
        arguments: copied into the report, so that it says how to repeat it.
        server_version: the server's own word, None if it has none.
    """
    output_tokens = sum(result.output_tokens for result in run.results)
    return ReplayReport(
        date=run.started_at.isoformat(timespec="seconds"),
        trace=dict(trace or {}),
        arguments=dict(arguments or {}),
        versions=_versions(server_version),
        interrupted=run.interrupted,
        duration_s=run.duration_s,
        counts=_counts(run),
        **_latencies(run.results),
        slo=_attainment(run, slo),
        prompt_tokens=sum(result.request.prompt_tokens for result in run.results),
        output_tokens=output_tokens,
        output_throughput_tps=output_tokens / run.duration_s if run.duration_s > 0 else 0.0,
        energy=energy,
        errors=_errors(run.results),
    )


def _counts(run: ReplayRun) -> RequestCounts:
    return RequestCounts(
        planned=run.planned,
        sent=len(run.results),
        late=sum(result.late for result in run.results),
        **{status.value: run.count(status) for status in RequestStatus},
    )


def _latencies(results: list[RequestResult]) -> dict[str, LatencySummary]:
    records = [record for result in results if (record := result.to_record()) is not None]
    completed = [result for result in results if result.status is RequestStatus.COMPLETED]
    return {
        "ttft_s": _summary(result.ttft_s for result in results),
        "itl_s": _summary(gap_s for result in results for gap_s in result.gaps_s),
        "tpot_s": _summary(record.tpot_s for record in records),
        "e2e_latency_s": _summary(record.e2e_latency_s for record in records),
        "longest_gap_s": _summary(result.longest_gap_s for result in results),
        "ttft_from_send_s": _summary(_since(result.sent_s, result.first_output_s) for result in results),
        "e2e_latency_from_send_s": _summary(_since(result.sent_s, result.ended_s) for result in completed),
    }


def _summary(values: Iterable[float | None]) -> LatencySummary:
    return LatencySummary.of(value for value in values if value is not None)


def _since(start_s: float, end_s: float | None) -> float | None:
    return None if end_s is None else end_s - start_s


def _attainment(run: ReplayRun, slo: ServiceLevelObjective) -> SloAttainment:
    records = (result.to_record() for result in run.results)
    met = sum(slo.met_by(record) for record in records if record is not None)
    return SloAttainment(
        ttft_s=slo.ttft_s,
        tpot_s=slo.tpot_s,
        e2e_latency_s=slo.e2e_latency_s,
        met=met,
        goodput_rps=met / run.duration_s if run.duration_s > 0 else 0.0,
        attainment=met / len(run.results) if run.results else None,
    )


def _errors(results: list[RequestResult]) -> list[ErrorExample]:
    failed = (r for r in results if r.status not in (RequestStatus.COMPLETED, RequestStatus.UNFINISHED))
    return [
        ErrorExample(request=result.request.index, status=result.status, detail=result.detail)
        for result, _ in zip(failed, range(ERROR_EXAMPLES), strict=False)
    ]


def _versions(server: str | None) -> dict[str, str | None]:
    """Of what touches a figure."""
    return {
        "reconfigure": __version__,
        "server": server,
        "python": platform.python_version(),
        "aiohttp": version("aiohttp"),
        "platform": platform.platform(),
    }
