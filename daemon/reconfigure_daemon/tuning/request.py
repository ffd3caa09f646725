"""What a session is to do."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

#: Requests whose lengths are taken over from a trace; a load takes them in turn.
MOST_LENGTHS = 2000


class TuneRequest(BaseModel):
    """A session, as it is asked for and kept.

    Attributes:
        trials: to measure, the configuration at the start included.
        budget_s, budget_j: end sooner when so much time or energy is spent; None for no such limit.
        space: `discrete` tries the space's own values; `continuous` looks for the best point between them first, and
            tries the values next to it.
        recorded: offer what the store has seen, instead of `lengths` and `arrival_rate_rps`.
        lengths: `(prompt, output)` tokens of the requests to offer, taken in turn.
        arrival_rate_rps: of the load under which joules and latencies are measured.
        settle_s: between the start of a load and its window.
        window_s: of the arrival rate.
        saturated_s: of the saturated engine, at least: it begins in the steady state and ends with a round.
        despite_traffic: measure although clients are being served; they wait behind the trials' requests.
        seed: of everything that is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(default=40, ge=2, le=1000)
    budget_s: float | None = Field(default=None, gt=0)
    budget_j: float | None = Field(default=None, gt=0)
    space: Literal["discrete", "continuous"] = "discrete"
    recorded: bool = False
    lengths: list[tuple[PositiveInt, PositiveInt]] = Field(default_factory=list, max_length=MOST_LENGTHS)
    arrival_rate_rps: float | None = Field(default=None, gt=0)
    settle_s: float = Field(default=3.0, ge=0, le=600)
    window_s: float = Field(default=10.0, gt=0, le=3600)
    saturated_s: float = Field(default=5.0, gt=0, le=3600)
    despite_traffic: bool = False
    seed: int = 0
