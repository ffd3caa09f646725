"""The JSON of tuning sessions.

POST /v1/tune          TuneRequest    -> TuningView; the session goes on by itself
POST /v1/tune/resume   ResumeRequest  -> TuningView
POST /v1/tune/stop                    -> TuningView
GET  /v1/tune                         -> TuningView, of the session that runs or ran last
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconfigure_daemon.control_api.learning_messages import ForecastView, MeasuredView
from reconfigure_daemon.control_api.messages import View
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.forecast import WorkloadContext


class ResumeRequest(View):
    """Go on with the last session, to as many trials in all as it wanted, or to `trials`."""

    trials: int | None = Field(default=None, ge=2, le=1000)


class TriedView(View):
    """One trial of a session.

    Attributes:
        by: who proposed it: `start`, `sobol`, `nehvi`, or `earlier` for one from before the session was resumed.
        expected: what was foretold of it before it was measured; None where nothing was learned yet.
        on_front: whether no other trial of the session beats it in both objectives.
    """

    number: int
    measured: MeasuredView
    by: str
    expected: ForecastView | None = None
    duration_s: float | None = None
    energy_j: float | None = None
    on_front: bool = False


class TuningView(View):
    """A session.

    Attributes:
        phase: what happens now; "" once it has ended.
        current: the configuration that is being tried; None between trials.
        growth: hypervolume after each trial, as a share of what it is after the last.
        restore: what is enforced again at the end.
        energy_j: spent since it began or was resumed.
        outcome: how it ended, in words; "" before.
    """

    id: str
    state: Literal["running", "finished", "stopped", "failed"]
    phase: str
    current: dict[str, KnobValue] | None
    wanted: int
    trials: list[TriedView]
    growth: list[float]
    context: WorkloadContext
    restore: dict[str, KnobValue]
    started_at: float
    ended_at: float | None
    energy_j: float
    energy_source: str
    outcome: str
