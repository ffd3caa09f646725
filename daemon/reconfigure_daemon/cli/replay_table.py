"""A replay's plan and report, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table

from reconfigure_daemon.durations import format_duration
from reconfigure_daemon.load_generation.percentiles import LatencySummary
from reconfigure_daemon.load_generation.plan import ReplayPlan
from reconfigure_daemon.load_generation.report import ReplayReport
from reconfigure_daemon.load_generation.results import LATE_AFTER_S


def plan_summary(plan: ReplayPlan) -> dict[str, float]:
    """What a plan would send, as numbers; lengths in tokens, means per request."""
    requests = len(plan.requests)
    return {
        "requests": requests,
        "span_s": plan.span_s,
        "arrival_rate_rps": plan.arrival_rate_rps,
        "prompt_tokens": plan.prompt_tokens,
        "output_tokens": plan.output_tokens,
        "mean_prompt_tokens": plan.prompt_tokens / requests,
        "mean_output_tokens": plan.output_tokens / requests,
        "longest_request_tokens": plan.longest_request_tokens,
        "capped_prompts": plan.capped_prompts,
        "capped_outputs": plan.capped_outputs,
        "raised_to_one": plan.raised_to_one,
        "sampled_out": plan.sampled_out,
    }


def plan_sentences(plan: ReplayPlan) -> list[str]:
    """What a plan would send, in words."""
    requests = len(plan.requests)
    sentences = [
        f"{requests} requests over {format_duration(plan.span_s)}, {plan.arrival_rate_rps:.3g} each second",
        f"{plan.prompt_tokens} prompt tokens (mean {plan.prompt_tokens / requests:.0f}), "
        f"{plan.output_tokens} output tokens (mean {plan.output_tokens / requests:.0f}), "
        f"longest request {plan.longest_request_tokens} tokens",
    ]
    changes = {
        "prompts cut to the cap": plan.capped_prompts,
        "outputs cut to the cap": plan.capped_outputs,
        "recorded without tokens, sent with one": plan.raised_to_one,
        "left out by the sample": plan.sampled_out,
    }
    return sentences + [f"{count} {change}" for change, count in changes.items() if count]


def print_report(console: Console, report: ReplayReport) -> None:
    """The report as a table and a few lines."""
    console.print(_latency_table(report))
    for line in (*_sentences(report), *_error_lines(report)):
        console.print(line)


def _latency_table(report: ReplayReport) -> Table:
    quantities = ("p50", "p90", "p95", "p99", "max", "mean", "values")
    columns = [Column(quantity, justify="right", no_wrap=True) for quantity in quantities]
    table = Table("latency", *columns, box=None, pad_edge=False, header_style="bold")
    rows = {
        "TTFT": report.ttft_s,
        "ITL": report.itl_s,
        "TPOT": report.tpot_s,
        "end to end": report.e2e_latency_s,
        "longest gap": report.longest_gap_s,
    }
    for name, summary in rows.items():
        table.add_row(name, *_cells(summary))
    return table


def latency_text(seconds: float) -> str:
    """A latency to three digits, `4.21ms` or `1.24s`; the time of a token needs more than `format_duration` gives."""
    if seconds >= 60:
        return format_duration(seconds)
    return f"{seconds * 1000:.3g}ms" if seconds < 0.9995 else f"{seconds:.3g}s"


def _cells(summary: LatencySummary) -> list[str]:
    values = (summary.p50, summary.p90, summary.p95, summary.p99, summary.max, summary.mean)
    return [*("-" if value is None else latency_text(value) for value in values), str(summary.count)]


def _sentences(report: ReplayReport) -> list[str]:
    counts, slo = report.counts, report.slo
    attainment = "-" if slo.attainment is None else f"{slo.attainment:.1%}"
    unfinished = f"  unfinished {counts.unfinished}" if report.interrupted else ""
    sentences = [
        f"sent {counts.sent} of {counts.planned} in {format_duration(report.duration_s)}: "
        f"completed {counts.completed}  lost {counts.lost}  broken {counts.broken}  truncated {counts.truncated}  "
        f"refused {counts.refused}  timed out {counts.timed_out}{unfinished}",
        f"goodput {slo.goodput_rps:.3g} requests/s; {attainment} of the requests met the SLO ({_limits(report)})",
        f"{report.output_throughput_tps:.4g} output tokens/s",
        _energy_sentence(report),
    ]
    if counts.late:
        sentences.append(
            f"{counts.late} requests left more than {format_duration(LATE_AFTER_S)} after they were due: this machine "
            "is short of CPU for the load generator; latencies count from when a request was due"
        )
    return sentences


def _limits(report: ReplayReport) -> str:
    limits = {"TTFT": report.slo.ttft_s, "TPOT": report.slo.tpot_s, "end to end": report.slo.e2e_latency_s}
    given = [f"{name} {format_duration(limit)}" for name, limit in limits.items() if limit is not None]
    return ", ".join(given) or "no limits"


def _energy_sentence(report: ReplayReport) -> str:
    energy = report.energy
    if energy.energy_j is None or energy.energy_per_output_token_j is None:
        return f"joules per output token: unknown ({energy.reason or 'no output tokens'})"
    return (
        f"{energy.energy_per_output_token_j:.3g} J per output token ({energy.source}; {energy.energy_j:.4g} J in all, "
        "prefill, idle time and other clients included)"
    )


def _error_lines(report: ReplayReport) -> list[str]:
    return [f"request {error.request} {error.status.value}: {error.detail}" for error in report.errors]
