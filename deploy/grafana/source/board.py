"""Dashboards and their panels, and the JSON that Grafana provisions them from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deploy.grafana.source.queries import Query, series

#: Grafana divides a dashboard's width into so many columns.
COLUMNS = 24

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "table", "state-timeline", "alertlist", "row"]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: short.
        meaning: what a reader should know, shown on hovering.
        queries: none for a row or a list of alerts.
        unit: in Grafana's words, e.g. `s`, `watt`, `percentunit`.
        width, height: in Grafana's grid.
        stacked: whether the series add up.
        states: for a state timeline or a stat of states, the text of each value.
    """

    title: str
    meaning: str = ""
    queries: Sequence[Query] = ()
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    stacked: bool = False
    states: Sequence[tuple[int, str, str]] = ()

    def as_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Grafana's form, at a place of the grid."""
        shared = {
            "id": number,
            "title": self.title,
            "type": self.kind,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
        }
        if self.kind == "row":
            return {**shared, "collapsed": False, "panels": []}
        described = {**shared, "description": self.meaning, "options": _OPTIONS[self.kind]}
        if self.kind == "alertlist":
            return described
        return {
            **described,
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "targets": [self._target(query, chr(ord("A") + n)) for n, query in enumerate(self.queries)],
        }

    def _defaults(self) -> dict[str, Any]:
        custom: dict[str, Any] = {}
        if self.kind == "timeseries":
            custom = {"lineWidth": 1, "fillOpacity": 25 if self.stacked else 5, "spanNulls": False}
            custom["stacking"] = {"mode": "normal" if self.stacked else "none"}
        options = {str(value): {"text": text, "color": color} for value, text, color in self.states}
        mappings = [{"type": "value", "options": options}] if options else []
        return {"unit": self.unit, "custom": custom, "mappings": mappings, "color": {"mode": "palette-classic"}}

    def _target(self, query: Query, reference: str) -> dict[str, Any]:
        instant = self.kind in ("stat", "table")
        return {
            "refId": reference,
            "datasource": DATASOURCE,
            "expr": query.expression,
            "legendFormat": query.legend,
            "instant": instant,
            "range": not instant,
            **({"format": "table"} if self.kind == "table" else {}),
        }


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mark on every graph at a time that a query gives, in seconds since the epoch."""

    title: str
    timestamps: str
    color: str

    def as_json(self) -> dict[str, Any]:
        """Grafana's form; it takes the value, in milliseconds, for the time."""
        return {
            "name": self.title,
            "datasource": DATASOURCE,
            "enable": True,
            "iconColor": self.color,
            "expr": f"{self.timestamps} * 1000",
            "useValueForTime": True,
            "titleFormat": self.title,
            "textFormat": "{{kind}} at {{instance}}",
            "step": "15s",
        }


#: What changed the engine; `reconfigure explain` and the control API's page have the reasons.
SWITCHES = Annotation("New core", series("last_decision_timestamp_seconds", kind="~redeploy|explore"), "orange")
ADJUSTMENTS = Annotation("Hot knobs", series("last_decision_timestamp_seconds", kind="adjust"), "blue")


def row(title: str) -> Panel:
    """A heading over the panels that follow."""
    return Panel(title, kind="row", width=COLUMNS, height=1)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Panels in reading order.

    Attributes:
        slug: the file's name, and the end of Grafana's uid.
    """

    slug: str
    title: str
    meaning: str
    panels: Sequence[Panel]
    annotations: Sequence[Annotation] = field(default=(SWITCHES,))

    def as_json(self) -> dict[str, Any]:
        """What Grafana provisions."""
        return {
            "uid": f"reconfigure-{self.slug}",
            "title": f"Reconfigure / {self.title}",
            "description": self.meaning,
            "tags": ["reconfigure", "vllm"],
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": [_OTHER_DASHBOARDS],
            "templating": {"list": [_DATASOURCE_CHOICE, _INSTANCE_CHOICE]},
            "annotations": {"list": [annotation.as_json() for annotation in self.annotations]},
            "panels": list(self._placed()),
        }

    def text(self) -> str:
        """The file's text."""
        return json.dumps(self.as_json(), indent=2) + "\n"

    def _placed(self) -> Iterator[dict[str, Any]]:
        """From left to right, a new line where a panel does not fit any more."""
        x = y = height = 0
        for number, panel in enumerate(self.panels, start=1):
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            yield panel.as_json(number, x, y)
            x, height = x + panel.width, max(height, panel.height)


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "textMode": "auto"},
    "table": {"showHeader": True},
    "state-timeline": {"mergeValues": True, "showValue": "auto", "legend": {"displayMode": "list"}},
    "alertlist": {"alertName": "Reconfigure", "stateFilter": {"firing": True, "pending": True}, "maxItems": 20},
}

_OTHER_DASHBOARDS = {
    "type": "dashboards",
    "title": "Reconfigure",
    "tags": ["reconfigure"],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
}
_DATASOURCE_CHOICE = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
_INSTANCE_CHOICE = {
    "name": "instance",
    "label": "Daemon",
    "type": "query",
    "datasource": DATASOURCE,
    "definition": "label_values(reconfigure_build_info, instance)",
    "query": {"query": "label_values(reconfigure_build_info, instance)", "refId": "instance"},
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}
