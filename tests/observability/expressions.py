"""Which metrics a PromQL expression names, and which there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from reconfigure_daemon.exposition.families import Families

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "rules"

#: Prometheus' own series.
OF_PROMETHEUS = {"up"}


def named_in(expression: str) -> set[str]:
    """Metrics and recorded figures in an expression; strings and labels are none."""
    without_strings = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:instance:)?reconfigure_[a-z0-9_:]+|\bup\b", without_strings))


def recorded() -> dict[str, str]:
    """Recorded figures with their expressions."""
    rules = yaml.safe_load((RULES / "reconfigure-recording.yml").read_text())
    return {rule["record"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}


def alerts() -> dict[str, dict]:
    """Alerting rules by name."""
    rules = yaml.safe_load((RULES / "reconfigure-alerts.yml").read_text())
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


def known() -> set[str]:
    """Every series that a query may name."""
    exposed = {series for description in Families().descriptions for series in description.series}
    return exposed | set(recorded()) | OF_PROMETHEUS
