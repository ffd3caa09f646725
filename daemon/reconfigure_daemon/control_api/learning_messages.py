"""The JSON of what was learned.

GET  /v1/pareto        -> ParetoView
GET  /v1/explanation   -> ExplanationView
GET  /v1/surrogate     -> SurrogateView
GET  /v1/trials        -> newline-delimited: a `TrialsHeader`, then one `TrialLine` each
POST /v1/trials        the same lines -> ImportResult
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconfigure_daemon.control_api.messages import View
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.forecast import WorkloadContext

#: The version of the exchange format that this version writes, and the only one that it reads.
TRIALS_VERSION = 1


class EstimateView(View):
    """A predicted quantity, and the interval that holds 95 of 100 outcomes."""

    median: float
    low: float
    high: float


class ForecastView(View):
    """What is expected of one configuration; a quantity is None where nothing was learned of it."""

    configuration: dict[str, KnobValue]
    energy_per_output_token_j: EstimateView | None
    throughput_tps: EstimateView | None
    ttft_p99_s: EstimateView | None
    tpot_p99_s: EstimateView | None
    feasibility: float
    observations: int


class MeasuredView(View):
    """One trial: what was measured, by the names of `ForecastView`; empty where the configuration does not work."""

    configuration: dict[str, KnobValue]
    context: WorkloadContext
    at: float
    measured: dict[str, float]
    feasible: bool
    reason: str = ""


class ParetoView(View):
    """The front that was learned, for one workload.

    Attributes:
        context: the workload that it holds for.
        basis: what it rests on.
        warnings: why it is not to be trusted; empty if there is no reason.
        front: highest throughput first; none of them is beaten in both throughput and energy by another candidate.
        enforced: what is expected of the configuration in force; None if it is no candidate.
        measured: trials with both objectives.
        energy_source: where joules come from on this machine.
        candidates: how many configurations were compared.
    """

    context: WorkloadContext
    basis: str
    warnings: list[str]
    front: list[ForecastView]
    enforced: ForecastView | None
    measured: list[MeasuredView]
    energy_source: str
    candidates: int


class NeighbourView(View):
    """A candidate one knob away; ratios are its medians over those of the configuration in force."""

    knob: str
    value: KnobValue
    ratios: dict[str, float]
    clear: list[str]
    feasibility: float


class InfluenceView(View):
    """How much a knob matters around the configuration in force: largest over smallest median, by quantity."""

    knob: str
    spread: dict[str, float]


class RivalView(View):
    """The candidate that would be better in one quantity, and by which share."""

    quantity: str
    configuration: dict[str, KnobValue]
    share: float
    is_clear: bool


class ExplanationView(View):
    """Why this configuration and not its neighbours.

    Attributes:
        learned: None while nothing was learned; `basis` says what is missing.
        min_saving: a change must improve the objective by this share.
    """

    basis: str
    warnings: list[str] = Field(default_factory=list)
    context: WorkloadContext | None = None
    forecast: ForecastView | None = None
    neighbours: list[NeighbourView] = Field(default_factory=list)
    influences: list[InfluenceView] = Field(default_factory=list)
    rivals: list[RivalView] = Field(default_factory=list)
    objective: str = ""
    min_saving: float = 0.0


class QuantityView(View):
    """How well one quantity is predicted: leave-one-out, then forecasts against windows that came afterwards."""

    quantity: str
    trials: int
    configurations: int
    r2: float | None
    mape: float | None
    coverage: float | None
    ceiling_r2: float | None
    linear_r2: float | None
    noise_relative_sd: float
    checked: int = 0
    checked_mape: float | None = None
    checked_coverage: float | None = None
    checked_bias: float | None = None


class SurrogateView(View):
    """Whether the surrogates are to be trusted."""

    basis: str
    fitted: bool
    trusted: bool
    faults: list[str]
    needed: int
    trials: int
    failed: int
    at: float | None
    duration_s: float | None
    quantities: list[QuantityView]


class TrialsHeader(View):
    """The first line of an export: what its trials are true of."""

    format: Literal["reconfigure-trials"] = "reconfigure-trials"
    version: int = TRIALS_VERSION
    engine: str
    engine_version: str
    model: str
    device: str


class TrialLine(View):
    """One trial of an export; `measured` holds `[value, relative standard deviation]` by quantity."""

    at: float
    configuration: dict[str, KnobValue]
    context: WorkloadContext
    measured: dict[str, tuple[float, float]]
    feasible: bool = True
    reason: str = ""


class ImportResult(View):
    """What became of an import: how many trials were taken, and how many were here already."""

    taken: int
    known: int
