"""Panels of a shape that dashboards repeat."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.grafana.source.board import Kind, Panel
from deploy.grafana.source.queries import Evidence, Query, series


def single(
    title: str,
    meaning: str,
    expression: str,
    legend: str = "{{instance}}",
    *,
    evidence: Evidence = "load",
    kind: Kind = "timeseries",
    unit: str = "short",
    width: int = 8,
    height: int = 8,
    stacked: bool = False,
    states: Sequence[tuple[int, str, str]] = (),
) -> Panel:
    """A panel of one query; the arguments are those of both."""
    return Panel(title, meaning, [Query(expression, legend, evidence)], kind, unit, width, height, stacked, states)


def whereabouts(title: str, meaning: str, expression: str, legend: str, height: int = 8) -> Panel:
    """Which of several states something is in over time: the query gives 1 for that one."""
    return single(
        title, meaning, expression, legend, kind="state-timeline", width=12, height=height,
        states=((1, "here", "green"),),
    )  # fmt: skip


def against_limit(title: str, latency: str) -> Panel:
    """The quantiles of a latency in each window, beside the SLO's limit."""
    queries = [
        Query(series(f"window_{latency}_seconds"), "p{{quantile}}"),
        Query(series("slo_limit_seconds", latency=latency), "limit"),
    ]
    return Panel(title, "Of each window; the limit where the SLO has one.", queries, unit="s")
