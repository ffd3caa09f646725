"""A real Prometheus with the shipped configuration, on a port and with an interval of the test's."""

from __future__ import annotations

import json
import signal
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness.processes import ServerProcess, free_port
from tests.observability.conftest import PROJECT

SHIPPED = PROJECT / "deploy" / "prometheus"
SCRAPE_INTERVAL_MS = 500  # it is the timeout as well, and the machine may be busy
PATIENCE_S = 30.0


class Prometheus:
    """Its HTTP API."""

    def __init__(self, url: str, process: ServerProcess) -> None:
        self.url = url
        self.process = process

    def get(self, path: str, **parameters: object) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each sample, now or at a wall-clock time."""
        moment = {} if at is None else {"time": at}
        return [
            (sample["metric"], float(sample["value"][1]))
            for sample in self.get("query", query=expression, **moment)["result"]
        ]

    def until(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The samples of an expression, once there are any."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (found := self.values(expression)):
            assert self.process.running, self.process.failure("Prometheus ended")
            assert time.monotonic() < deadline_s, f"no data for {expression}; targets: {self.get('targets')}"
            time.sleep(0.05)
        return found


def configuration(name: str, targets: Mapping[str, Sequence[int]], replaced: Mapping[str, str]) -> dict[str, Any]:
    """A shipped configuration with other ports, other paths and short intervals; all else is as shipped.

    Args:
        name: the shipped file.
        targets: ports of each job; a job that is not named is left out.
        replaced: paths, by the shipped ones.
    """
    text = (SHIPPED / name).read_text()
    for shipped, ours in replaced.items():
        text = text.replace(shipped, ours)
    settings: dict[str, Any] = yaml.safe_load(text)
    settings["global"] = {
        "scrape_interval": f"{SCRAPE_INTERVAL_MS}ms",
        "scrape_timeout": f"{SCRAPE_INTERVAL_MS}ms",
        "evaluation_interval": "500ms",
    }
    settings["rule_files"] = [str(SHIPPED / path) for path in settings["rule_files"]]
    settings["scrape_configs"] = [job for job in settings["scrape_configs"] if job["job_name"] in targets]
    for job in settings["scrape_configs"]:
        job.pop("scrape_interval", None)
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets[job["job_name"]]]}]
    return settings


@contextmanager
def running_prometheus(program: str, settings: Mapping[str, Any], folder: Path) -> Iterator[Prometheus]:
    """A server with its own store, which is gone afterwards."""
    path, port = folder / "prometheus.yml", free_port()
    path.write_text(yaml.safe_dump(dict(settings)))
    command = [
        program, f"--config.file={path}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    process = ServerProcess(command, folder / "prometheus.log", {}, folder)
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}", process)
        _wait_until_ready(prometheus)
        yield prometheus
    finally:
        process.end(signal.SIGTERM, timeout_s=10)


def _wait_until_ready(prometheus: Prometheus) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"{prometheus.url}/-/ready", timeout=5):
                return
        except OSError:
            assert prometheus.process.running, prometheus.process.failure("Prometheus ended")
            assert time.monotonic() < deadline_s, "Prometheus does not become ready"
            time.sleep(0.05)
