"""What the daemon decided, what became of it, and what a change cost."""

from __future__ import annotations

from deploy.grafana.source.board import ADJUSTMENTS, SWITCHES, Dashboard, Panel, row
from deploy.grafana.source.queries import Query, increase, quantile, series

_PER_DAY = "1d"

DECISIONS = Dashboard(
    "decisions",
    "Decisions",
    "Decisions and outcomes, configurations, and the cost of switches. `reconfigure history` has the reasons.",
    [
        Panel(
            "Decisions",
            "By kind: `keep` does nothing, `adjust` moves hot knobs, `redeploy` needs a new core, `explore` tries.",
            [Query(increase("decisions_total"), "{{kind}}")],
            stacked=True,
        ),
        Panel(
            "Outcomes",
            "What became of those that acted.",
            [Query(increase("decision_outcomes_total", kind="~adjust|redeploy|explore"), "{{kind}}: {{outcome}}")],
            stacked=True,
        ),
        Panel("Wishes", "Of operators and schedules.", [Query(increase("intents_total"), "{{kind}}")], stacked=True),
        row("Configuration"),
        Panel(
            "Enforced and wanted",
            "The knobs that need a new core.",
            [Query(series("configuration_info"), "{{role}}: {{configuration}}")],
            "state-timeline",
            width=12,
            states=((1, "here", "green"),),
        ),
        Panel(
            "Hot knobs",
            "As the core enforces them; knobs of a number.",
            [Query(series("knob_enforced"), "{{knob}}")],
            width=6,
        ),
        Panel(
            "Not as asked for",
            "Enforced less wanted: a lowered cap waits for requests to finish.",
            [Query(f"{series('knob_enforced')} - {series('knob_target')}", "{{knob}}")],
            width=6,
        ),
        row("Switches"),
        Panel(
            "Duration",
            "Median of a day's successful cold switches, by mode.",
            [Query(quantile(0.5, "switch_duration_seconds", "mode", _PER_DAY), "{{mode}}")],
            "stat",
            unit="s",
            width=6,
        ),
        Panel(
            "Stall",
            "95th percentile over a day's switches of the pause that 95 of 100 live streams stayed below.",
            [Query(quantile(0.95, "switch_stall_seconds", "mode", _PER_DAY), "{{mode}}")],
            "stat",
            unit="s",
            width=6,
        ),
        Panel(
            "Computed again",
            "Tokens of live requests that a new core had to compute again.",
            [Query(increase("switch_replayed_tokens_total"), "tokens")],
            width=6,
        ),
        Panel(
            "Inexact",
            "Requests that were moved although their replay is not exact.",
            [Query(increase("switch_inexact_requests_total"), "requests")],
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
        Panel(
            "Governor",
            "1 while it moves hot knobs by itself.",
            [Query(series("governor_active"), "{{instance}}")],
            "state-timeline",
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
