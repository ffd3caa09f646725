"""Queries of metrics that exist: names are checked against what the controller exposes and what the rules record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from reconfigure_daemon.exposition.catalogue import PREFIX
from reconfigure_daemon.exposition.families import Families

RULES = Path(__file__).resolve().parents[2] / "prometheus" / "rules" / "reconfigure-recording.yml"

#: Grafana's own: an interval that holds at least two scrapes.
INTERVAL = "$__rate_interval"

_INSTANCE = 'instance=~"$instance"'


class UnknownMetric(ValueError):
    """A query names a metric that nothing exposes or records."""


#: What it takes for a query to have data: an engine under load, a model that has learned, counters of real devices.
Evidence = Literal["load", "learning", "hardware"]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression, and how Grafana names its series, e.g. `{{device}}`."""

    expression: str
    legend: str
    evidence: Evidence = "load"


def series(name: str, **labels: str) -> str:
    """A selector of one metric, of the instances that the dashboard shows.

    Args:
        name: without the prefix, e.g. `power_watts`; with the suffix of its kind.
        labels: equal to these values; a value that begins with `~` is a regular expression.

    Raises:
        UnknownMetric: if the controller does not expose it.
    """
    if f"{PREFIX}_{name}" not in _exposed():
        raise UnknownMetric(f"{PREFIX}_{name} is no metric of the controller")
    matchers = [_INSTANCE, *(_matcher(label, value) for label, value in labels.items())]
    return f"{PREFIX}_{name}{{{', '.join(matchers)}}}"


def figure(name: str) -> str:
    """A recorded figure, e.g. `reconfigure_power_watts:sum`, of the instances that the dashboard shows.

    Raises:
        UnknownMetric: if no rule records it.
    """
    if f"instance:{name}" not in _recorded():
        raise UnknownMetric(f"instance:{name} is recorded by no rule")
    return f"instance:{name}{{{_INSTANCE}}}"


def rate(name: str, **labels: str) -> str:
    """Increase per second of a counter."""
    return f"rate({series(name, **labels)}[{INTERVAL}])"


def increase(name: str, **labels: str) -> str:
    """Increase of a counter from one point of the graph to the next."""
    return f"increase({series(name, **labels)}[{INTERVAL}])"


def quantile(share: float, name: str, by: str = "", over: str = INTERVAL) -> str:
    """A quantile of a histogram, for each value of a label if one is named."""
    labels = f"instance, le{f', {by}' if by else ''}"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({series(f'{name}_bucket')}[{over}])))"


def _matcher(label: str, value: str) -> str:
    return f'{label}=~"{value[1:]}"' if value.startswith("~") else f'{label}="{value}"'


@cache
def _exposed() -> frozenset[str]:
    return frozenset(name for description in Families().descriptions for name in description.series)


@cache
def _recorded() -> frozenset[str]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return frozenset(rule["record"] for group in groups for rule in group["rules"])
