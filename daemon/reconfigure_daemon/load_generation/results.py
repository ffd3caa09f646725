"""What became of each request, and of the replay as a whole."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_policies.domain.workload import FinishReason, RequestRecord


class RequestStatus(StrEnum):
    """How a request ended; each has exactly one.

    `completed`: every forced token came, and a proper end. `truncated`: a proper end, but fewer tokens.
    `broken`: the answer began, then an error, a cut connection, or no proper end. `lost`: no answer, or HTTP 5xx.
    `refused`: HTTP 4xx. `timed_out`: no end within the timeout. `unfinished`: the replay was interrupted.
    """

    COMPLETED = "completed"
    TRUNCATED = "truncated"
    BROKEN = "broken"
    LOST = "lost"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    UNFINISHED = "unfinished"


#: A request that leaves later than this after it was due is counted as late: the generator, not the server, was slow.
LATE_AFTER_S = 0.05


@dataclass(slots=True)
class RequestResult:
    """One request's life, as its client saw it. Times are seconds since the start of the replay.

    Latencies count from the moment the request was *due*, so that a generator or server that falls behind cannot hide
    the wait (coordinated omission).

    Attributes:
        request: what was to be sent.
        sent_s: when it was sent.
        first_output_s: when its first output came, None if none did.
        ended_s: when it ended, None while it has not.
        output_tokens: tokens that came.
        gaps_s: time between each output and the next.
        status: how it ended.
        finish_reason: the server's word, None if it gave none.
        detail: for anything but `completed`, what happened.
        token_ids, text: the output, if it was kept; ids are empty if the server sends none.
    """

    request: PlannedRequest
    sent_s: float
    first_output_s: float | None = None
    ended_s: float | None = None
    output_tokens: int = 0
    gaps_s: array[float] = field(default_factory=lambda: array("d"))
    status: RequestStatus = RequestStatus.UNFINISHED
    finish_reason: str | None = None
    detail: str = ""
    token_ids: array[int] = field(default_factory=lambda: array("I"))
    text: str = ""

    @property
    def late(self) -> bool:
        """Whether it left more than `LATE_AFTER_S` after it was due."""
        return self.sent_s - self.request.due_s > LATE_AFTER_S

    @property
    def ttft_s(self) -> float | None:
        """From due to the first output."""
        return None if self.first_output_s is None else self.first_output_s - self.request.due_s

    @property
    def e2e_latency_s(self) -> float | None:
        """From due to the end."""
        return None if self.ended_s is None else self.ended_s - self.request.due_s

    @property
    def longest_gap_s(self) -> float | None:
        """The longest stall between two outputs, None with fewer than two outputs."""
        return max(self.gaps_s, default=None)

    @property
    def output_digest(self) -> str:
        """SHA-256 of the output's token ids, or of its text without those: equal outputs, equal digests."""
        content = ",".join(map(str, self.token_ids)) if self.token_ids else self.text
        return hashlib.sha256(content.encode()).hexdigest()

    def to_record(self) -> RequestRecord | None:
        """The policies' form of a request that ran to a proper end, None for any other."""
        if self.status is not RequestStatus.COMPLETED or self.ended_s is None:
            return None
        return RequestRecord(
            arrived_s=self.request.due_s,
            ttft_s=self.ttft_s,
            e2e_latency_s=self.ended_s - self.request.due_s,
            prompt_tokens=self.request.prompt_tokens,
            cached_prompt_tokens=0,
            output_tokens=self.output_tokens,
            longest_gap_s=self.longest_gap_s or 0.0,
            finish_reason=FinishReason.LENGTH,
        )


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """A replay that ended, or was interrupted.

    Attributes:
        planned: requests that were to be sent.
        results: one for each that was sent, in order of arrival.
        started_at: wall clock, UTC.
        duration_s: from the start to the last answer.
        interrupted: whether it was stopped before its end.
    """

    planned: int
    results: list[RequestResult]
    started_at: datetime
    duration_s: float
    interrupted: bool

    def count(self, status: RequestStatus) -> int:
        """Requests that ended this way."""
        return sum(result.status is status for result in self.results)

    @property
    def clean(self) -> bool:
        """Whether every planned request was sent and completed."""
        return self.planned == len(self.results) == self.count(RequestStatus.COMPLETED)
