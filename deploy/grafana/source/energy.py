"""Joules: where they go, what a token costs, and against what."""

from __future__ import annotations

from deploy.grafana.source.board import ADJUSTMENTS, SWITCHES, Dashboard, Panel, row
from deploy.grafana.source.queries import Query, figure, increase, rate, series
from deploy.grafana.source.shapes import single, whereabouts

_SOURCES = "`measured` is a counter, `integrated` power over time, `estimated` a model and no measurement."

ENERGY = Dashboard(
    "energy",
    "Energy",
    "Power and joules of every device, joules per output token, and what they were expected to be.",
    [
        single(
            "Power",
            f"Mean between two readings. {_SOURCES}",
            series("power_watts"),
            "{{device}} ({{source}})",
            unit="watt",
            width=12,
            stacked=True,
        ),
        Panel(
            "Energy per output token",
            "Of each window, prefill and idle energy included, beside what model and forecast expect.",
            [
                Query(series("window_energy_per_output_token_joules"), "{{source}}"),
                Query(series("governor_expected_energy_per_output_token_joules"), "governor expects", "learning"),
                Query(series("forecast_energy_per_output_token_joules"), "forecast, {{bound}}", "learning"),
            ],
            unit="joule",
            width=12,
        ),
        row("Savings"),
        Panel(
            "Against stock settings",
            "Joules per output token as set, and as stock settings would cost at the present load, by the governor's "
            "model.",
            [
                Query(series("governor_expected_energy_per_output_token_joules"), "as set", "learning"),
                Query(series("governor_stock_energy_per_output_token_joules"), "stock", "learning"),
            ],
            unit="joule",
        ),
        single(
            "Saved",
            "Share of the stock settings' energy, by the governor's model.",
            f"1 - {series('governor_expected_energy_per_output_token_joules')} / "
            f"{series('governor_stock_energy_per_output_token_joules')}",
            unit="percentunit",
            evidence="learning",
        ),
        single(
            "SLO headroom of the governor",
            "Share of each latency's limit that is free; negative is a breach, at which it gives back.",
            series("governor_slo_headroom_ratio"),
            "{{latency}}",
            unit="percentunit",
        ),
        row("Where joules go"),
        single(
            "Energy",
            "In the time shown.",
            f"sum by (device, source) (increase({series('energy_joules_total')}[$__range]))",
            "{{device}} ({{source}})",
            kind="stat",
            unit="joule",
        ),
        single(
            "Power by source",
            "What the counters rose by, per second.",
            f"sum by (source) ({rate('energy_joules_total')})",
            "{{source}}",
            unit="watt",
        ),
        single(
            "Spent on switches",
            "Joules of all devices during cold switches; a switch must pay for itself.",
            increase("switch_energy_joules_total"),
            unit="joule",
        ),
        row("Where joules come from"),
        whereabouts(
            "Source of each device",
            f"{_SOURCES} While it is `unknown`, none are counted.",
            f"{series('energy_source')} == 1",
            "{{device}}: {{source}}",
        ),
        single(
            "Measured by counters",
            "Power of devices whose joules are measured or integrated: GPUs by NVML, packages and memory by RAPL.",
            series("power_watts", source="~measured|integrated"),
            "{{device}}",
            unit="watt",
            width=6,
            evidence="hardware",
        ),
        single(
            "Per token, over an hour",
            "Prefill and idle energy included.",
            figure("reconfigure_energy_per_output_token_joules:ratio_rate1h"),
            kind="stat",
            unit="joule",
            width=6,
        ),
    ],
    (SWITCHES, ADJUSTMENTS),
)
