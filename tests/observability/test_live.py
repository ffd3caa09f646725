"""A real Prometheus scrapes a daemon through a replay with switches, and answers what rules and dashboards ask.

The engine is emulated. What only surrogates or counters of real devices can tell comes from a second target: the
controller's own metrics object, told what they would tell it.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.harness.daemon import Daemon
from benchmarks.harness.streams import equal_requests, failures, running_streams
from deploy.grafana.source import DASHBOARDS
from deploy.grafana.source.board import ADJUSTMENTS, SWITCHES
from reconfigure_daemon.emulated_engine.emulation import VARIABLE
from tests.observability.expressions import alerts, recorded
from tests.observability.learned import learning_controller
from tests.observability.server import Prometheus, configuration, running_prometheus

EMULATION = {"boot_s": 0.1, "faults": [{"when": {"block_size": 32, "max_num_seqs": 1}, "fault": "out_of_memory"}]}
SETTINGS = {
    "slo": {"ttft_s": 1.0, "tpot_s": 0.1, "e2e_latency_s": 10.0, "attainment": 0.9},
    "governor": {"enabled": True},
    "monitoring": {"window_s": 1, "settle_s": 0, "observation_min_requests": 1},
    "metering": {"interval_s": 0.2, "nvml": "off", "rapl": "off"},
    "start_objective": "energy",
}
REQUESTS, OUTPUT_TOKENS = 12, 24

#: What Grafana would fill in.
GRAFANA = {"$__rate_interval": "5s", "$__range": "30s", "$instance": ".*"}

PANELS = [
    pytest.param(query, id=f"{board.slug}-{panel.title}-{number}".replace(" ", "_"))
    for board in DASHBOARDS
    for panel in board.panels
    for number, query in enumerate(panel.queries)
]


@dataclass(frozen=True)
class Observed:
    """A server that has seen a replay, and two moments of it."""

    prometheus: Prometheus
    after_few: float
    at: float
    daemon: str
    learning: str

    def of(self, instance: str, expression: str) -> list[tuple[dict[str, str], float]]:
        """Numbers of one target that an expression had at any time of the replay."""
        return [
            (labels, value)
            for labels, value in self.prometheus.values(at_any_time(expression), self.at)
            if labels.get("instance", instance) == instance and math.isfinite(value)
        ]


def at_any_time(expression: str) -> str:
    """The largest value an expression had within five minutes, at steps that are the same for each who asks."""
    return f"max_over_time(({expression})[5m:100ms])"


@pytest.fixture(scope="module")
def observed(prometheus_server, tmp_path_factory) -> Iterator[Observed]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with pytest.MonkeyPatch.context() as patch, learning_controller() as learning_port:
        patch.setenv(VARIABLE, json.dumps(EMULATION))
        daemon = Daemon("emulated", "auto", SETTINGS)
        port = daemon.settings.control_api.port
        targets = configuration("prometheus.yml", {"reconfigure": [port, learning_port]}, {})
        with running_prometheus(prometheus_server, targets, folder) as prometheus:
            after_few, at = asyncio.run(replay(daemon, prometheus))
            yield Observed(prometheus, after_few, at, f"127.0.0.1:{port}", f"127.0.0.1:{learning_port}")


async def replay(daemon: Daemon, prometheus: Prometheus) -> tuple[float, float]:
    """A few requests, then load with hot changes, cold ones, one that is undone, and a pause.

    Returns a moment at which the few requests were scraped, and one at which everything was.
    """
    ours = f'{{instance="127.0.0.1:{daemon.settings.control_api.port}"}}'
    async with daemon:
        await scraped(prometheus, f"reconfigure_engine_host_up{ours} == 1")  # whatever comes now is an increase
        few = equal_requests(REQUESTS, 32, OUTPUT_TOKENS)
        async with running_streams(few, await daemon.target(), to_the_end=True) as streams:
            pass
        assert failures(streams.results) == []
        after_few = await scraped(prometheus, f"reconfigure_requests_finished_total{ours} == {REQUESTS}")

        load = equal_requests(3000, 32, 400, spacing_s=0.1)  # more than there is time for, however slow the machine
        async with running_streams(load, await daemon.target(seed=1)) as streams:
            await daemon.live(2)
            await daemon.apply({"block_size": 64})
            await daemon.intend({"kind": "objective", "objective": "throughput"})
            await daemon.apply({"block_size": 64})
            undone = await daemon.apply({"max_num_seqs": 1, "block_size": 32})
            assert undone.decision.outcome.kind == "rolled_back"
            await daemon.intend({"kind": "pause"})
            await daemon.intend({"kind": "resume"})
            await daemon.intend({"kind": "objective", "objective": "energy"})
            # A scrape may be superseded within a step, so what the tests will ask is what is waited for.
            for seen in (
                f"reconfigure_governor_slo_headroom_ratio{ours} > 0",
                f"reconfigure_window_tpot_seconds{ours}",
                f"rate(reconfigure_requests_arrived_total{ours}[5s]) > 0",
            ):
                await scraped(prometheus, at_any_time(seen))
            await scraped(prometheus, 'ALERTS{alertstate="firing"}')
            at = await scraped(prometheus, f"timestamp(up) > {time.time()}")
        assert failures(streams.results) == []
    return after_few, at


async def scraped(prometheus: Prometheus, expression: str) -> float:
    """The moment when it was found."""
    await asyncio.to_thread(prometheus.until, expression)
    return time.time()


def filled(expression: str) -> str:
    """A dashboard's expression as Grafana would send it."""
    for name, value in GRAFANA.items():
        expression = expression.replace(name, value)
    return expression


@pytest.mark.parametrize("query", PANELS)
def test_every_panel_has_data(observed, query):
    """Each query of each dashboard returns a number after a replay."""
    instance = observed.daemon if query.evidence == "load" else observed.learning
    assert observed.of(instance, filled(query.expression)), filled(query.expression)


@pytest.mark.parametrize("annotation", [SWITCHES, ADJUSTMENTS], ids=lambda annotation: annotation.title)
def test_every_mark_has_a_time_within_the_replay(observed, annotation):
    """Annotations are at the decisions' own times."""
    times = [value for _, value in observed.of(observed.daemon, filled(annotation.timestamps))]
    assert times
    assert all(observed.after_few < value < observed.at for value in times)


@pytest.mark.parametrize("name", recorded())
def test_every_recorded_figure_has_data(observed, name):
    """Each rule yields a number, from the daemon or from what has learned."""
    assert observed.of(observed.daemon, name) or observed.of(observed.learning, name)


def test_prometheus_finds_no_fault_in_target_or_rule(observed):
    """Every target was up, though a busy machine may answer one scrape too late; every rule evaluates."""
    assert [value for _, value in observed.prometheus.values("max_over_time(up[5m])", observed.at)] == [1.0, 1.0]
    rules = [rule for group in observed.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(recorded()) | set(alerts())
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []


def test_alerts_tell_what_happened_and_nothing_else(observed):
    """The switch that was rolled back is told; a replay of a minute gives no other reason to call anybody."""
    firing = {labels["alertname"] for labels, _ in observed.of(observed.daemon, 'ALERTS{alertstate="firing"}')}
    assert firing == {"ReconfigureSwitchRolledBack"}


def test_counters_tell_what_was_sent(observed):
    """After a few requests Prometheus knows how many they were, and each of their tokens."""
    for metric, expected in (
        ("reconfigure_requests_finished_total", REQUESTS),
        ("reconfigure_output_tokens_total", REQUESTS * OUTPUT_TOKENS),
        ("sum(reconfigure_slo_requests_total)", REQUESTS),
        ("reconfigure_lost_requests_total", 0),
    ):
        selector = f'{{instance="{observed.daemon}"}}'
        expression = metric.replace(")", f"{selector})") if ")" in metric else metric + selector
        found = observed.prometheus.values(expression, observed.after_few)
        assert [value for _, value in found] == [expected], metric


def test_no_label_holds_a_prompt_a_key_or_a_token(observed):
    """Every label of every series is one of a closed set, and short."""
    for labels in observed.prometheus.get("series", **{"match[]": '{__name__=~"reconfigure_.*"}'}):
        for name, value in labels.items():
            assert name in LABELS, name
            assert len(value) < 200, labels


LABELS = {
    "__name__", "bound", "configuration", "device", "engine", "instance", "job", "kind", "knob", "latency", "le",
    "mode", "model", "objective", "outcome", "phase", "quantile", "quantity", "role", "source", "value", "verdict",
    "version", "within",
}  # fmt: skip


def test_a_daemon_with_a_token_is_scraped_with_it(prometheus_server, tmp_path):
    """The shipped configuration with a token file finds the target up; nobody else gets in."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    daemon = Daemon("emulated", "auto", {"control_api": {"token_file": str(token)}})
    targets = configuration(
        "prometheus-token.yml",
        {"reconfigure": [daemon.settings.control_api.port]},
        {"/etc/prometheus/reconfigure-token": str(token)},
    )

    async def scraped() -> None:
        async with daemon:
            with running_prometheus(prometheus_server, targets, tmp_path) as prometheus:
                found = await asyncio.to_thread(prometheus.until, 'up{job="reconfigure"} == 1')
                assert len(found) == 1
                await asyncio.to_thread(prometheus.until, "reconfigure_engine_host_up == 1")

    asyncio.run(scraped())
