"""`kill -9` of the engine host, to which the clients are connected: what they see, and how it comes back.

Their connections break, as those of any server that is killed. What must hold is that every client is told so at
once, so that it can ask again, that the daemon counts what was in flight, and that a fresh host serves by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from dataclasses import dataclass

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import at_most, exactly, shown
from benchmarks.harness.streams import equal_requests, running_streams
from reconfigure_daemon.control_api.messages import OutcomeView
from reconfigure_daemon.load_generation.results import RequestResult, RequestStatus

STREAMS, PROMPT_TOKENS, OUTPUT_TOKENS = 8, 48, 600

#: Clients that know within this that their answer will not come.
TOLD_WITHIN_S = 5.0

#: What a client sees that asks again: no answer, or one that breaks off.
RETRYABLE = (RequestStatus.BROKEN, RequestStatus.LOST)


@dataclass(frozen=True, slots=True)
class Kill:
    """One killed host. Times in seconds."""

    told: int
    silent: int
    counted: int
    ready_after_s: float
    retried: int


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Kill the host under streams, see it come back, and send the same requests again."""
    count = 1 if arguments.quick else arguments.kills
    kills = []
    async with Daemon(arguments.engine, arguments.model) as daemon:
        for number in range(count):
            kills.append(await kill(daemon, number))
            console.print(f"host {number + 1} of {count} killed, ready again after {kills[-1].ready_after_s:.1f} s")
    flying = STREAMS * count
    return command.Findings(
        rows=[
            shown("engine host killed: times", count),
            exactly("engine host killed: in flight, told so within 5 s by a broken connection", told(kills), flying),
            exactly("engine host killed: in flight, left waiting", sum(each.silent for each in kills), 0),
            exactly("engine host killed: in flight, as the daemon counts them", counted(kills), flying),
            exactly("engine host killed: completed when asked again", sum(each.retried for each in kills), flying),
            at_most(
                "engine host killed: longest time until ready again", max(k.ready_after_s for k in kills), 120, "s"
            ),
        ],
        notes=[f"{STREAMS} streams each time. Nothing but the daemon starts the next host."],
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How often."""
    parser.add_argument("--kills", type=int, default=3, help="hosts to kill (default: 3)")


async def kill(daemon: Daemon, number: int) -> Kill:
    """One host."""
    requests = equal_requests(STREAMS, PROMPT_TOKENS, OUTPUT_TOKENS)
    before = await daemon.host()
    async with running_streams(requests, await daemon.target(seed=number)) as streams:
        await daemon.live(STREAMS)
        await asyncio.sleep(2.5)  # the controller looks once a second
        killed_s = time.monotonic()
        os.kill(before.pid, signal.SIGKILL)
        await asyncio.sleep(TOLD_WITHIN_S)
    await command.until(lambda: another(daemon, before.host_id), 300, "another engine host")
    ready_after_s = time.monotonic() - killed_s
    outcome = await restart_of(daemon, before.host_id)
    assert outcome is not None
    async with running_streams(requests, await daemon.target(seed=number), to_the_end=True) as again:
        pass
    return Kill(
        told=sum(result.status in RETRYABLE for result in streams.results),
        silent=sum(result.status not in RETRYABLE for result in streams.results),
        counted=int(outcome.measurements.get("live_requests", 0)),
        ready_after_s=ready_after_s,
        retried=completed(again.results),
    )


async def another(daemon: Daemon, host_id: str) -> bool:
    """Whether another host serves, and its start has been recorded."""
    engine = (await daemon.status()).engine
    if engine is None or engine.host_id == host_id or engine.phase != "serving":
        return False
    return await restart_of(daemon, host_id) is not None


async def restart_of(daemon: Daemon, host_id: str) -> OutcomeView | None:
    """What became of the decision to replace a dead host; None while it is not carried out."""
    return next((each.outcome for each in await daemon.decisions() if host_id in each.reason and each.outcome), None)


def told(kills: list[Kill]) -> int:
    """Clients that can ask again."""
    return sum(each.told for each in kills)


def counted(kills: list[Kill]) -> int:
    """Requests that the daemon knows were in flight."""
    return sum(each.counted for each in kills)


def completed(results: list[RequestResult]) -> int:
    """Requests that ended whole."""
    return sum(result.status is RequestStatus.COMPLETED for result in results)
