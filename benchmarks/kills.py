"""`kill -9` of the controller under load, and of the EngineCore under live streams.

    python -m benchmarks.kills [--quick]

A killed controller is started again at once, as a service manager would do, and adopts the engine that served on. A
killed EngineCore is replaced by the engine host itself, which brings its streams into the new one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.rows import Row, at_least, at_most, exactly, shown
from benchmarks.harness.streams import equal_requests, failures, longest_gap_within_s, running_streams
from reconfigure_daemon.load_generation.results import RequestStatus
from reconfigure_daemon.ports import DeploymentState

SEED = 11

#: Requests that arrive while controllers die: 48 prompt and 24 output tokens, two each second.
SPACING_S, PROMPT_TOKENS, OUTPUT_TOKENS = 0.5, 48, 24
SECONDS_PER_KILL = 8.0

STREAMS, STREAM_TOKENS = 8, 300
RECOVERY_TIMEOUT_S = 300.0


@dataclass(slots=True)
class ControllerKills:
    """What controllers' deaths did."""

    adoption_s: list[float] = field(default_factory=list)
    computed_s: list[float] = field(default_factory=list)
    queued_s: list[float] = field(default_factory=list)
    other_hosts: int = 0
    while_arriving: int = 0
    requests: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(slots=True)
class CoreKill:
    """What one EngineCore's death did; times in seconds."""

    boot_s: float
    stall_s: list[float]
    completed: int
    bad: list[str]


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Both kinds of kills on one daemon."""
    controllers, cores = (2, 1) if arguments.quick else (arguments.controllers, arguments.cores)
    if arguments.engine == "emulated":
        cores = 0  # its core is no process of its own
    async with Daemon(arguments.engine, arguments.model) as daemon:
        killed = await kill_controllers(daemon, controllers, console)
        core_kills = [await kill_core(daemon, kill, console) for kill in range(cores)]
    return command.Findings(
        rows=[*controller_rows(killed, controllers), *(core_rows(core_kills) if core_kills else [])],
        notes=[
            f"{killed.requests} requests arrived, {1 / SPACING_S:g} each second, while {controllers} controllers died.",
            "Adoption: from the start of the next controller, Python's own start included, to its first answer that "
            "shows the engine.",
        ],
        details={
            "adoption_s": killed.adoption_s,
            "computed_s": killed.computed_s,
            "queued_s": killed.queued_s,
            "core_kills": [{"boot_s": kill.boot_s, "stall_s": kill.stall_s} for kill in core_kills],
            "failures": killed.bad + [text for kill in core_kills for text in kill.bad],
        },
    )


async def kill_controllers(daemon: Daemon, kills: int, console: Console) -> ControllerKills:
    """Kill and start controllers while requests arrive."""
    requests = equal_requests(round(kills * SECONDS_PER_KILL / SPACING_S), PROMPT_TOKENS, OUTPUT_TOKENS, SPACING_S)
    found = ControllerKills(requests=len(requests))
    draws = random.Random(SEED)
    async with running_streams(requests, await daemon.target(), to_the_end=True) as streams:
        for kill in range(kills):
            await asyncio.sleep(draws.uniform(1, 3))
            adoption_s, same_host = await kill_controller(daemon)
            found.adoption_s.append(adoption_s)
            computed_s, queued_s = processor_times_s(daemon.controller.pid)
            found.computed_s.append(computed_s)
            found.queued_s.append(queued_s)
            found.other_hosts += not same_host
            found.while_arriving += time.monotonic() - streams.origin_s < requests[-1].due_s
            console.print(f"controller {kill + 1} of {kills} killed, the next one adopted after {adoption_s:.2f} s")
    found.bad = failures(streams.results)
    return found


async def kill_controller(daemon: Daemon) -> tuple[float, bool]:
    """Kill the controller, start the next; returns the time to adoption and whether the engine is still the same."""
    before = (await daemon.host()).host_id
    daemon.controller.kill()
    began_s = time.monotonic()
    daemon.start_controller()
    await daemon.ready()
    return time.monotonic() - began_s, (await daemon.host()).host_id == before


def processor_times_s(pid: int) -> tuple[float, float]:
    """Seconds that a process has computed, and that it was ready to and waited for a processor (Linux's schedstat)."""
    computed_ns, queued_ns, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(computed_ns) / 1e9, int(queued_ns) / 1e9


async def kill_core(daemon: Daemon, number: int, console: Console) -> CoreKill:
    """Kill the EngineCore under streams and see them to their end."""
    requests = equal_requests(STREAMS, PROMPT_TOKENS, STREAM_TOKENS)
    target = await daemon.target(seed=100 + number)
    async with running_streams(requests, target, to_the_end=True) as streams:
        await daemon.live(STREAMS)
        await asyncio.sleep(1)  # every stream flows
        before = await deployment(daemon)
        killed_s = time.monotonic() - streams.origin_s
        kill_process_of((await daemon.host()).pid, before)
        after = await replaced(daemon, before)
    gaps = [longest_gap_within_s(result, killed_s, killed_s + RECOVERY_TIMEOUT_S) for result in streams.results]
    stall_s = [gap_s for gap_s in gaps if gap_s is not None]
    completed = sum(result.status is RequestStatus.COMPLETED for result in streams.results)
    longest_s = max(stall_s, default=float("nan"))
    console.print(f"core killed under {STREAMS} streams: {completed} completed, longest stall {longest_s:.2f} s")
    return CoreKill(after.boot_s, stall_s, completed, failures(streams.results))


async def deployment(daemon: Daemon) -> DeploymentState:
    """The core that serves."""
    found = (await daemon.host()).deployment
    if found is None or not found.pids:
        raise ServerFailed("the engine host shows no core whose process could be killed")
    return found


def kill_process_of(host_pid: int, core: DeploymentState) -> None:
    """`kill -9` of the core's first process, once it is known to be a child of this benchmark's engine host."""
    children = {child.pid for child in psutil.Process(host_pid).children(recursive=True)}
    if core.pids[0] not in children:
        raise ServerFailed(f"process {core.pids[0]} is no child of the engine host {host_pid}; nothing was killed")
    os.kill(core.pids[0], signal.SIGKILL)


async def replaced(daemon: Daemon, before: DeploymentState) -> DeploymentState:
    """The core that took the place of a killed one."""

    async def another() -> bool:
        found = (await daemon.status()).engine
        return found is not None and found.deployment is not None and found.deployment.id != before.id

    await command.until(another, RECOVERY_TIMEOUT_S, "a new core")
    return await deployment(daemon)


def controller_rows(killed: ControllerKills, kills: int) -> list[Row]:
    """What the controllers' deaths must not have done."""
    return [
        at_least("kill -9 of the controller: kills while requests arrived", killed.while_arriving, kills),
        exactly("kill -9 of the controller: requests affected", len(killed.bad), 0),
        exactly("kill -9 of the controller: engines not adopted", killed.other_hosts, 0),
        at_most("kill -9 of the controller: longest adoption", max(killed.adoption_s), 2, "s"),
        shown("median adoption", median(killed.adoption_s), "s"),
        shown("of an adoption: computing, median", median(killed.computed_s), "s"),
        shown("of an adoption: waiting for a processor, longest", max(killed.queued_s), "s"),
    ]


def core_rows(kills: list[CoreKill]) -> list[Row]:
    """What the cores' deaths must not have done."""
    beyond_s = [max(kill.stall_s) - kill.boot_s for kill in kills if kill.stall_s]
    stalls_s = [stall_s for kill in kills for stall_s in kill.stall_s]
    return [
        exactly("kill -9 of the EngineCore: streams completed", sum(k.completed for k in kills), STREAMS * len(kills)),
        at_most("kill -9 of the EngineCore: longest stall beyond one boot", max(beyond_s, default=None), 1, "s"),
        shown("kill -9 of the EngineCore: longest stall", max(stalls_s, default=None), "s"),
        shown("boot of the core that took its place", max(kill.boot_s for kill in kills), "s"),
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--controllers", type=int, default=10, help="controllers to kill (default: 10)")
    parser.add_argument(
        "--cores", type=int, default=3, help="cores to kill (default: 3, as many as `switch.core_restarts` allows)"
    )
    return command.run("kills", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
