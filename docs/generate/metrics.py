"""The reference of metrics: every family that the controller exposes, as the code describes it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from reconfigure_daemon.exposition.catalogue import Description
from reconfigure_daemon.exposition.families import Families

_HEAD = """\
# Metrics

Every metric of the control API's `/metrics`, written from the code by `make docs`. Names end in their unit, counters in
`_total`; a histogram is stored as `_bucket`, `_sum` and `_count`. Counters never go down while the controller lives,
also when an engine or a meter starts again. Labels take their values from closed sets, from the configuration space or
from the machine's devices, so the number of series cannot grow; no prompt, key or token is in any of them.

vLLM's own metrics stay at `/metrics` of its port. [Prometheus and Grafana](../guide/monitoring.md) has the scrape
configuration, rules, alerts and dashboards."""


def page() -> str:
    """The page's text."""
    return "\n".join([_HEAD, *_sections(), ""])


def _sections() -> Iterator[str]:
    for group, descriptions in groupby(Families().descriptions, key=lambda description: description.group):
        yield f"\n## {group}\n"
        yield "| metric | kind | labels | meaning |"
        yield "|---|---|---|---|"
        yield from (_row(description) for description in descriptions)


def _row(description: Description) -> str:
    labels = ", ".join(f"`{label}`" for label in description.labels)
    return f"| `{description.name}` | {description.kind} | {labels} | {description.meaning} |"
