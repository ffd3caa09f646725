"""What the daemon decided, what became of it, and what a change cost."""

from __future__ import annotations

from deploy.grafana.source.board import ADJUSTMENTS, SWITCHES, Dashboard, Panel, row
from deploy.grafana.source.queries import Query, increase, quantile, series
from deploy.grafana.source.shapes import single, whereabouts

_PER_DAY = "1d"

DECISIONS = Dashboard(
    "decisions",
    "Decisions",
    "Decisions and outcomes, configurations, and the cost of switches. `reconfigure history` has the reasons.",
    [
        single(
            "Decisions",
            "By kind: `keep` does nothing, `adjust` moves hot knobs, `redeploy` needs a new core, `explore` tries.",
            increase("decisions_total"),
            "{{kind}}",
            stacked=True,
        ),
        single(
            "Outcomes",
            "What became of those that acted.",
            increase("decision_outcomes_total", kind="~adjust|redeploy|explore"),
            "{{kind}}: {{outcome}}",
            stacked=True,
        ),
        single("Wishes", "Of operators and schedules.", increase("intents_total"), "{{kind}}", stacked=True),
        row("Configuration"),
        whereabouts(
            "Enforced and wanted",
            "The knobs that need a new core.",
            series("configuration_info"),
            "{{role}}: {{configuration}}",
        ),
        single(
            "Hot knobs", "As the core enforces them; knobs of a number.", series("knob_enforced"), "{{knob}}", width=6
        ),
        single(
            "Not as asked for",
            "Enforced less wanted: a lowered cap waits for requests to finish.",
            f"{series('knob_enforced')} - {series('knob_target')}",
            "{{knob}}",
            width=6,
        ),
        row("Switches"),
        single(
            "Duration",
            "Median of a day's successful cold switches, by mode.",
            quantile(0.5, "switch_duration_seconds", "mode", _PER_DAY),
            "{{mode}}",
            kind="stat",
            unit="s",
            width=6,
        ),
        single(
            "Stall",
            "95th percentile over a day's switches of the pause that 95 of 100 live streams stayed below.",
            quantile(0.95, "switch_stall_seconds", "mode", _PER_DAY),
            "{{mode}}",
            kind="stat",
            unit="s",
            width=6,
        ),
        single(
            "Computed again",
            "Tokens of live requests that a new core had to compute again.",
            increase("switch_replayed_tokens_total"),
            "tokens",
            width=6,
        ),
        single(
            "Inexact",
            "Requests that were moved although their replay is not exact.",
            increase("switch_inexact_requests_total"),
            "requests",
            width=6,
        ),
        row("Engine and governor"),
        Panel(
            "Restarts and losses",
            "Cores that died and were replaced, hosts that were taken over, requests that were lost.",
            [
                Query(increase("core_restarts_total"), "core restarts"),
                Query(increase("engine_host_adoptions_total"), "adoptions"),
                Query(increase("lost_requests_total"), "lost requests"),
            ],
        ),
        single(
            "Governor",
            "1 while it moves hot knobs by itself.",
            series("governor_active"),
            kind="state-timeline",
            states=((0, "stands by", "text"), (1, "acts", "green")),
        ),
        Panel(
            "What serves",
            "An emulated engine is no measurement.",
            [
                Query(series("engine_host_info"), "{{engine}} {{version}}"),
                Query(series("build_info"), "Reconfigure {{version}}"),
            ],
            "table",
        ),
    ],
    (SWITCHES, ADJUSTMENTS),
)
