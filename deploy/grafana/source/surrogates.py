"""How good forecasts are, and what they have found."""

from __future__ import annotations

from deploy.grafana.source.board import Dashboard, Panel, row
from deploy.grafana.source.queries import Query, figure, increase, quantile, series
from deploy.grafana.source.shapes import single


def _forecast(title: str, meaning: str, forecast: str, measured: str, unit: str) -> Panel:
    queries = [Query(series(forecast), "forecast, {{bound}}", "learning"), Query(measured, "measured")]
    return Panel(title, meaning, queries, unit=unit, width=6)


def _learned(title: str, meaning: str, expression: str, legend: str, unit: str = "short", width: int = 8) -> Panel:
    return single(title, meaning, expression, legend, evidence="learning", unit=unit, width=width)


SURROGATES = Dashboard(
    "surrogates",
    "Surrogate quality",
    "Forecasts against what was measured, the surrogates' own errors, and the Pareto front.",
    [
        row("Forecast and measured, of what is enforced"),
        _forecast(
            "Energy per output token",
            "Median and 95 % interval; measured of each window.",
            "forecast_energy_per_output_token_joules",
            series("window_energy_per_output_token_joules"),
            "joule",
        ),
        _forecast(
            "Throughput",
            "Forecast when saturated; measured as the load asks.",
            "forecast_output_tokens_per_second",
            series("window_output_tokens_per_second"),
            "suffix: tok/s",
        ),
        _forecast(
            "Time to first token, p99",
            "Median and 95 % interval; measured of each window.",
            "forecast_ttft_p99_seconds",
            series("window_ttft_seconds", quantile="0.99"),
            "s",
        ),
        _forecast(
            "Time per output token, p99",
            "Median and 95 % interval; measured of each window.",
            "forecast_tpot_p99_seconds",
            series("window_tpot_seconds", quantile="0.99"),
            "s",
        ),
        row("Errors"),
        _learned(
            "Held out",
            "Mean error on observations that were held out, as a share of the measured value.",
            series("surrogate_error_ratio"),
            "{{quantity}}",
            "percentunit",
        ),
        _learned(
            "Coverage",
            "Share of held-out observations within the 95 % interval; near 95 % if it is honest.",
            series("surrogate_coverage_ratio"),
            "{{quantity}}",
            "percentunit",
        ),
        _learned(
            "In service",
            "90th percentile of how far measurements lay from their forecast's median.",
            quantile(0.9, "forecast_error_ratio", "quantity", "1h"),
            "{{quantity}}",
            "percentunit",
        ),
        _learned(
            "Within the interval",
            "Share of six hours' forecasts whose 95 % interval held what was measured.",
            figure("reconfigure_forecasts_within:ratio_rate6h"),
            "{{quantity}}",
            "percentunit",
        ),
        _learned(
            "Observations", "That each surrogate was fitted to.", series("surrogate_observations"), "{{quantity}}"
        ),
        _learned(
            "Fitting",
            "Median time of one fit of all surrogates.",
            quantile(0.5, "surrogate_fit_duration_seconds", over="1h"),
            "{{instance}}",
            "s",
        ),
        row("Pareto front"),
        _learned(
            "Hypervolume",
            "Between the front and the worst that was measured; it grows as better ones are found.",
            series("pareto_hypervolume"),
            "{{instance}}",
        ),
        _learned(
            "Configurations",
            "On the front.",
            series("pareto_front_configurations"),
            "{{instance}}",
        ),
        _learned("Shifts", "Of the workload, by what shifted.", increase("workload_shifts_total"), "{{quantity}}"),
    ],
)
