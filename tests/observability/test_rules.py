"""Prometheus' own tool accepts the configuration and the rules, and the rules do what they say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.observability.conftest import PROJECT
from tests.observability.expressions import RULES, alerts, known, named_in, recorded

TESTS = sorted((Path(__file__).parent / "rules").glob("*.yml"))
GUIDE = PROJECT / "docs" / "guide" / "monitoring.md"


def accepted(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def settings(name: str) -> dict:
    return yaml.safe_load((RULES.parent / name).read_text())


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-token.yml"])
def test_promtool_accepts_the_configuration(promtool, name, tmp_path):
    """With its rules beside it, and the token where the file says."""
    token = tmp_path / "reconfigure-token"
    token.write_text("0123456789abcdef")
    (tmp_path / name).write_text(
        (RULES.parent / name).read_text().replace("/etc/prometheus/reconfigure-token", str(token))
    )
    (tmp_path / "rules").symlink_to(RULES)
    accepted(promtool, "check", "config", "--lint-fatal", str(tmp_path / name))


def test_promtool_accepts_the_rules(promtool):
    """Also by its lint: none is there twice."""
    accepted(promtool, "check", "rules", "--lint-fatal", *map(str, sorted(RULES.glob("*.yml"))))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_they_say(promtool, path):
    """Each fires when it must, and not before."""
    accepted(promtool, "test", "rules", str(path))


def test_the_configuration_with_a_token_differs_in_nothing_else():
    """What is changed in the one is changed in the other."""
    plain, with_token = settings("prometheus.yml"), settings("prometheus-token.yml")
    credentials = with_token["scrape_configs"][0].pop("authorization")
    assert credentials == {"type": "Bearer", "credentials_file": "/etc/prometheus/reconfigure-token"}
    assert with_token == plain


@pytest.mark.parametrize("name", [*recorded(), *alerts()])
def test_every_metric_in_a_rule_exists(name):
    """A metric that is renamed in the code is renamed here."""
    expression = recorded().get(name) or alerts()[name]["expr"]
    assert named_in(expression)
    assert named_in(expression) <= known()


@pytest.mark.parametrize("name", alerts())
def test_every_alert_is_tested_and_explained(name):
    """It fires and stays silent in a test, and its runbook is a section of the guide."""
    cases = "".join(path.read_text() for path in TESTS)
    assert re.search(rf"alertname: {name}, eval_time: \w+, exp_alerts: \[\]", cases), "no test in which it is silent"
    assert re.search(rf"alertname: {name}\n\s+eval_time: \w+\n\s+exp_alerts:\n", cases), "no test in which it fires"
    page, _, anchor = alerts()[name]["annotations"]["runbook"].partition("#")
    assert PROJECT / page == GUIDE
    assert f"### {name}\n" in GUIDE.read_text()
    assert anchor == name.lower()
