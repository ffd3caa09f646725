"""What an operator looks at first: is it well, what runs, what does it cost."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.grafana.source.board import Dashboard, Panel, row
from deploy.grafana.source.queries import Query, figure, quantile, rate, series
from deploy.grafana.source.shapes import against_limit, single, whereabouts

_YES_NO = ((0, "no", "green"), (1, "yes", "orange"))
_UP_DOWN = ((0, "down", "red"), (1, "up", "green"))


def _stat(
    title: str,
    meaning: str,
    expression: str,
    legend: str = "",
    unit: str = "short",
    states: Sequence[tuple[int, str, str]] = (),
) -> Panel:
    return single(title, meaning, expression, legend, kind="stat", unit=unit, width=4, height=4, states=states)


OVERVIEW = Dashboard(
    "overview",
    "Overview",
    "What runs, whether it keeps its service level, and what a token costs.",
    [
        _stat("Engine", "Whether the engine host answers.", series("engine_host_up"), states=_UP_DOWN),
        _stat("Objective", "In force now.", f"{series('objective')} == 1", "{{objective}}"),
        _stat("Paused", "Whether automatic changes are stopped.", series("paused"), states=_YES_NO),
        _stat(
            "SLO attainment", "Over five minutes.", figure("reconfigure_slo_attainment:ratio_rate5m"), "", "percentunit"
        ),
        _stat(
            "Energy per output token",
            "Over five minutes, prefill and idle energy included.",
            figure("reconfigure_energy_per_output_token_joules:ratio_rate5m"),
            "",
            "joule",
        ),
        _stat("Lost requests", "Must stay 0.", series("lost_requests_total")),
        row("Service level"),
        against_limit("Time to first token", "ttft"),
        against_limit("Time per output token", "tpot"),
        Panel(
            "Error budget burn",
            "How many times faster than allowed the error budget is spent; 1 uses it up exactly.",
            [
                Query(figure("reconfigure_slo_burn:ratio_rate5m"), "5 minutes"),
                Query(figure("reconfigure_slo_burn:ratio_rate1h"), "1 hour"),
                Query(figure("reconfigure_slo_burn:ratio_rate6h"), "6 hours"),
            ],
            unit="none",
        ),
        row("Load and cost"),
        single("Output tokens", "Per second.", rate("output_tokens_total"), unit="suffix: tok/s"),
        Panel(
            "Requests",
            "In the running batch, and waiting for it.",
            [Query(series("running_requests"), "running"), Query(series("waiting_requests"), "waiting")],
            stacked=True,
        ),
        single(
            "Power",
            "Of every device that is metered.",
            series("power_watts"),
            "{{device}} ({{source}})",
            unit="watt",
            stacked=True,
        ),
        row("Changes"),
        whereabouts(
            "Engine phase", "What the engine host does.", f"{series('engine_phase')} == 1", "{{phase}}", height=6
        ),
        Panel("Alerts", "Of deploy/prometheus/rules.", kind="alertlist", width=12, height=6),
        row("Controller"),
        Panel(
            "Control loop",
            "99th percentiles: how long a tick takes, and how late it begins.",
            [
                Query(quantile(0.99, "control_tick_duration_seconds"), "tick"),
                Query(quantile(0.99, "control_loop_lag_seconds"), "lag"),
            ],
            unit="s",
        ),
        single("Memory", "Resident, of the controller alone.", series("process_resident_memory_bytes"), unit="bytes"),
        Panel(
            "Descriptors and store",
            "Open files of the controller; whether its store cannot be written.",
            [Query(series("process_open_fds"), "descriptors"), Query(series("store_degraded"), "store degraded")],
        ),
    ],
)
