"""What was learned, as the messages of the control API."""

from __future__ import annotations

from collections.abc import Sequence

from reconfigure_daemon.control_api.learning_messages import (
    EstimateView,
    ExplanationView,
    ForecastView,
    InfluenceView,
    MeasuredView,
    NeighbourView,
    QuantityView,
    RivalView,
    SurrogateView,
    TrialLine,
)
from reconfigure_daemon.ports import CheckedForecasts, FitReport
from reconfigure_policies.decision.explanation import Explanation
from reconfigure_policies.domain.forecast import Estimate, Forecast, WorkloadContext
from reconfigure_policies.surrogate import OBJECTIVES, Measured, Quantity, QuantityQuality, Trial


def estimate_view(estimate: Estimate | None) -> EstimateView | None:
    """A predicted quantity."""
    return None if estimate is None else EstimateView(median=estimate.median, low=estimate.low, high=estimate.high)


def forecast_view(forecast: Forecast) -> ForecastView:
    """What is expected of one configuration."""
    return ForecastView(
        configuration=dict(forecast.configuration),
        energy_per_output_token_j=estimate_view(forecast.energy_per_output_token_j),
        throughput_tps=estimate_view(forecast.throughput_tps),
        ttft_p99_s=estimate_view(forecast.ttft_p99_s),
        tpot_p99_s=estimate_view(forecast.tpot_p99_s),
        feasibility=forecast.feasibility,
        observations=forecast.observations,
    )


def measured_view(trial: Trial) -> MeasuredView:
    """One trial."""
    return MeasuredView(
        configuration=dict(trial.configuration),
        context=trial.context,
        at=trial.at,
        measured={quantity.value: each.value for quantity, each in trial.measured.items()},
        feasible=trial.feasible,
        reason=trial.reason,
    )


def with_both_objectives(trials: Sequence[Trial]) -> list[MeasuredView]:
    """Trials that are points of a plot."""
    return [measured_view(trial) for trial in trials if all(objective in trial.measured for objective in OBJECTIVES)]


def explanation_view(
    explanation: Explanation, report: FitReport, context: WorkloadContext, objective: str, min_saving: float
) -> ExplanationView:
    """Why this configuration and not its neighbours."""
    return ExplanationView(
        basis=report.basis,
        warnings=warnings(report),
        context=context,
        forecast=forecast_view(explanation.forecast),
        neighbours=[
            NeighbourView(
                knob=each.knob,
                value=each.value,
                ratios=dict(each.ratios),
                clear=list(each.clear),
                feasibility=each.forecast.feasibility,
            )
            for each in explanation.neighbours
        ],
        influences=[InfluenceView(knob=each.knob, spread=dict(each.spread)) for each in explanation.influences],
        rivals=[
            RivalView(
                quantity=each.quantity,
                configuration=dict(each.forecast.configuration),
                share=each.share,
                is_clear=each.is_clear,
            )
            for each in explanation.rivals
        ],
        objective=objective,
        min_saving=min_saving,
    )


def warnings(report: FitReport) -> list[str]:
    """Why what was learned is not to be trusted."""
    return list(report.quality.faults) if report.quality is not None else []


def surrogate_view(report: FitReport) -> SurrogateView:
    """Whether the surrogates are to be trusted."""
    quality = report.quality
    quantities = {} if quality is None else quality.by_quantity
    return SurrogateView(
        basis=report.basis,
        fitted=quality is not None,
        trusted=quality is not None and quality.is_trusted,
        faults=[*warnings(report), *([report.error] if report.error else [])],
        needed=report.needed,
        trials=report.trials,
        failed=report.failed,
        at=report.at,
        duration_s=report.duration_s,
        quantities=[_quantity(name, found, report.checked.get(name)) for name, found in quantities.items()],
    )


def _quantity(quantity: Quantity, found: QuantityQuality, checked: CheckedForecasts | None) -> QuantityView:
    return QuantityView(
        quantity=quantity.value,
        trials=found.trials,
        configurations=found.configurations,
        r2=found.r2,
        mape=found.mape,
        coverage=found.coverage,
        ceiling_r2=found.ceiling_r2,
        linear_r2=found.linear_r2,
        noise_relative_sd=found.noise_relative_sd,
        checked=0 if checked is None else checked.count,
        checked_mape=None if checked is None else checked.mape,
        checked_coverage=None if checked is None else checked.coverage,
        checked_bias=None if checked is None else checked.bias,
    )


def trial_line(trial: Trial) -> TrialLine:
    """A trial for another host."""
    return TrialLine(
        at=trial.at,
        configuration=dict(trial.configuration),
        context=trial.context,
        measured={quantity.value: (each.value, each.relative_sd) for quantity, each in trial.measured.items()},
        feasible=trial.feasible,
        reason=trial.reason,
    )


def measured_of(line: TrialLine) -> dict[Quantity, Measured]:
    """What a line says was measured.

    Raises:
        ValueError: for a quantity or a number that cannot be.
    """
    found = {}
    for name, (value, relative_sd) in line.measured.items():
        if not value > 0 or relative_sd < 0:
            raise ValueError(f"{name}: found {value:g} with a spread of {relative_sd:g}; values are above 0")
        found[Quantity(name)] = Measured(value, relative_sd)
    return found
