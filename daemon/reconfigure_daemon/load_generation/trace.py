"""What every trace comes down to, whatever its publisher's format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconfigure_daemon.errors import RequestInvalid


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One recorded request.

    Attributes:
        arrival_s: seconds since the trace's first request, in the trace's own time; never decreases.
        prompt_tokens: recorded prompt length, 0 or more.
        output_tokens: recorded output length, 0 or more; 0 is a request that failed when it was recorded.
        blocks: one id per block of `BLOCK_TOKENS` prompt tokens, where the trace has them: requests that share
            leading ids share that much of their prompt. Empty for prompts that share nothing.
    """

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


#: Prompt tokens that one block id stands for (Mooncake, FAST'25).
BLOCK_TOKENS = 512


class TraceInvalid(RequestInvalid):
    """A trace cannot be read as it is.

    Attributes:
        faults: one sentence each, beginning with `file:line:` where a line is at fault.
    """

    kind = "trace_invalid"

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))
