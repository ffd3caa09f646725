"""What is asked of the engine, and how it answers."""

from __future__ import annotations

from deploy.grafana.source.board import Dashboard, Panel, row
from deploy.grafana.source.queries import INTERVAL, Query, figure, increase, rate, series
from deploy.grafana.source.shapes import single

_LATENCIES = (
    ("Time to first token", "window_ttft_seconds"),
    ("Time per output token", "window_tpot_seconds"),
    ("Inter-token latency", "window_itl_seconds"),
    ("End to end", "window_e2e_latency_seconds"),
)


def _per_request(tokens: str) -> str:
    return f"{rate(tokens)} / ({rate('requests_arrived_total')} > 0)"


WORKLOAD = Dashboard(
    "workload",
    "Workload",
    "Arrivals, tokens, queues and latencies.",
    [
        Panel(
            "Requests",
            "Per second.",
            [
                Query(rate("requests_arrived_total"), "arrived"),
                Query(rate("requests_finished_total"), "finished"),
                Query(series("window_goodput_requests_per_second"), "met the SLO (window)"),
            ],
            unit="reqps",
        ),
        Panel(
            "Tokens",
            "Per second; cached prompt tokens come from the prefix cache.",
            [
                Query(rate("output_tokens_total"), "output"),
                Query(rate("prompt_tokens_total"), "prompt"),
                Query(rate("cached_prompt_tokens_total"), "prompt, cached"),
            ],
            unit="suffix: tok/s",
        ),
        Panel(
            "Tokens of a request",
            f"Means over {INTERVAL}.",
            [
                Query(_per_request("prompt_tokens_total"), "prompt"),
                Query(_per_request("output_tokens_total"), "output"),
            ],
        ),
        row("Queues and memory"),
        Panel(
            "In the engine",
            "Held by the host, in the running batch, and waiting for it.",
            [
                Query(series("live_requests"), "live"),
                Query(series("running_requests"), "running"),
                Query(series("waiting_requests"), "waiting"),
            ],
        ),
        Panel(
            "KV cache",
            "Share of blocks in use, and share of prompt tokens that the prefix cache held.",
            [
                Query(series("kv_cache_usage_ratio"), "in use"),
                Query(figure("reconfigure_prefix_cache_hit:ratio_rate5m"), "prefix hits"),
            ],
            unit="percentunit",
        ),
        single("Preemptions", "Running requests that lost their KV cache.", increase("preemptions_total")),
        row("Latencies of each window"),
        *(
            single(title, "Quantiles of each window.", series(name), "p{{quantile}}", unit="s", width=6)
            for title, name in _LATENCIES
        ),
        row("Service level"),
        Panel(
            "Attainment",
            "Share of each window's requests that met the SLO, and the share that must.",
            [
                Query(series("window_slo_attainment_ratio"), "attained"),
                Query(series("slo_required_attainment_ratio"), "required"),
            ],
            unit="percentunit",
        ),
        single(
            "Headroom",
            "Attainment above the required one; negative is a breach.",
            series("window_slo_headroom_ratio"),
            unit="percentunit",
        ),
        single(
            "Judged requests",
            "Per second; those that a client gave up are not judged.",
            rate("slo_requests_total"),
            "{{verdict}}",
            unit="reqps",
            stacked=True,
        ),
        row("Shifts"),
        single(
            "Shifts of the workload",
            "Detected, by what shifted.",
            increase("workload_shifts_total"),
            "{{quantity}}",
            width=12,
        ),
        single(
            "Records that were lost",
            "Finished requests that were overwritten before the controller read them; windows lack them.",
            increase("telemetry_dropped_total"),
            width=12,
        ),
    ],
)
