"""What every fault is seen against: requests that arrive, probes that ask, metrics, and the controller's log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness.daemon import Daemon, applied
from benchmarks.harness.streams import equal_requests, failures, running_streams
from reconfigure_daemon.load_generation.results import RequestStatus

#: Requests that arrive during a fault: 48 prompt and 24 output tokens, two each second.
SPACING_S, PROMPT_TOKENS, OUTPUT_TOKENS = 0.5, 48, 24
_MOST_REQUESTS = 2000

PROBE_INTERVAL_S = 0.1
PROBE_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Witness:
    """What clients of the engine and of the control API saw during a fault.

    Attributes:
        affected: requests that were lost, broken, cut short or refused, in words.
        completed: requests that ended as they should.
        probe_s: how long each probe of the control API took.
        unanswered: probes that got no answer, or another one than 200.
    """

    affected: list[str] = field(default_factory=list)
    completed: int = 0
    probe_s: list[float] = field(default_factory=list)
    unanswered: int = 0

    @property
    def slowest_probe_s(self) -> float | None:
        """The slowest answer, or None without any."""
        return max(self.probe_s, default=None)


@asynccontextmanager
async def witnessed(daemon: Daemon, seed: int) -> AsyncIterator[Witness]:
    """Requests arrive and `/healthz` is asked for as long as the block runs."""
    witness = Witness()
    requests = equal_requests(_MOST_REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS, SPACING_S)
    async with running_streams(requests, await daemon.target(seed=seed)) as streams:
        probing = asyncio.create_task(_probe(daemon, witness))
        try:
            yield witness
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
    witness.affected = failures(streams.results)
    witness.completed = sum(result.status is RequestStatus.COMPLETED for result in streams.results)


async def _probe(daemon: Daemon, witness: Witness) -> None:
    timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
    async with aiohttp.ClientSession(daemon.control_url, timeout=timeout) as session:
        while True:
            began_s = time.monotonic()
            try:
                async with session.get("/healthz") as answer:
                    await answer.read()
                    witness.unanswered += answer.status != 200
            except (aiohttp.ClientError, OSError, TimeoutError):
                witness.unanswered += 1
            else:
                witness.probe_s.append(time.monotonic() - began_s)
            await asyncio.sleep(PROBE_INTERVAL_S)


async def metric(daemon: Daemon, name: str, **labels: str) -> float | None:
    """A sample of the controller's metrics, or None if it is not exposed; the sum where labels leave several."""
    async with aiohttp.ClientSession(daemon.control_url) as session, session.get("/metrics") as answer:
        text = await answer.text()
    values = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(values) if values else None


async def changed(daemon: Daemon, changes: Mapping[str, Any]) -> int | None:
    """The id of a decision that was carried out, or None if it was not."""
    result = await daemon.apply(changes)
    return result.decision.id if result.decision is not None and applied(result) else None


def errors_logged(daemon: Daemon, after: int = 0) -> list[str]:
    """Lines of the controller's log that are errors, those of its first `after` characters left out."""
    lines = daemon.controller.log.read_text(errors="replace")[after:].splitlines()
    return [line for line in lines if " ERROR " in line or line.startswith("Traceback")]


def log_length(daemon: Daemon) -> int:
    """How much the controller has logged so far, in characters."""
    return len(daemon.controller.log.read_text(errors="replace"))
