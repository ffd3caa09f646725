"""Grafana's dashboards name what exists, and are what Grafana can provision."""

from __future__ import annotations

import json

import pytest
import yaml

from deploy.grafana.source import DASHBOARDS
from deploy.grafana.source.board import COLUMNS
from deploy.grafana.source.queries import UnknownMetric, figure, series
from reconfigure_daemon.exposition.families import Families
from tests.observability.conftest import PROJECT
from tests.observability.expressions import alerts, known, named_in, recorded

GRAFANA = PROJECT / "deploy" / "grafana"

#: Metrics that are in no dashboard and no rule: another one tells the same, or they are for joining.
NOT_SHOWN = {
    "reconfigure_knob_enforced_info", "reconfigure_knob_target_info",
    "reconfigure_governor_model_samples",
    "reconfigure_window_arrivals_per_second", "reconfigure_process_virtual_memory_bytes",
    "reconfigure_process_start_time_seconds", "reconfigure_process_cpu_seconds_total",
    "reconfigure_process_max_fds",
}  # fmt: skip


def expressions(board) -> list[str]:
    queries = [query.expression for panel in board.panels for query in panel.queries]
    return [*queries, *(annotation.timestamps for annotation in board.annotations)]


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.slug)
def test_dashboards_name_only_metrics_that_exist(board):
    """Queries and marks; a metric that is renamed in the code cannot stay here."""
    for expression in expressions(board):
        assert named_in(expression), expression
        assert named_in(expression) <= known(), expression


def test_a_metric_that_does_not_exist_is_refused_by_name():
    """The generator fails rather than writing a panel that stays empty."""
    with pytest.raises(UnknownMetric, match="reconfigure_tokens_total is no metric"):
        series("tokens_total")
    with pytest.raises(UnknownMetric, match="instance:reconfigure_tokens:rate5m is recorded by no rule"):
        figure("reconfigure_tokens:rate5m")


def test_every_metric_is_shown_or_said_not_to_be():
    """A metric is on a dashboard, in a rule, or among those that need not be."""
    named = {name for board in DASHBOARDS for expression in expressions(board) for name in named_in(expression)}
    for rule in [*recorded().values(), *(alert["expr"] for alert in alerts().values())]:
        named |= named_in(rule)
    missing = {d.name for d in Families().descriptions if not named & {d.name, *d.series}}
    assert missing == NOT_SHOWN


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.slug)
def test_panels_have_a_place_a_meaning_and_a_unit(board):
    """No two overlap or stick out, each says what it shows, and each query of a panel has a letter of its own."""
    taken = set()
    for panel in board.as_json()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= COLUMNS
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(letters) == len(set(letters))
    assert len({panel["id"] for panel in board.as_json()["panels"]}) == len(board.panels)


def test_provisioning_finds_source_and_dashboards():
    """The shipped Prometheus and the folder of dashboards; uids and titles differ."""
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    assert [(entry["type"], entry["access"]) for entry in source["datasources"]] == [("prometheus", "proxy")]
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/reconfigure.yml").read_text())
    assert provider["providers"][0]["type"] == "file"
    files = sorted((GRAFANA / "dashboards").glob("*.json"))
    boards = [json.loads(path.read_text()) for path in files]
    assert [path.stem for path in files] == sorted(board.slug for board in DASHBOARDS)
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(DASHBOARDS)
    assert all(len(board["uid"]) <= 40 for board in boards)  # Grafana allows no more
