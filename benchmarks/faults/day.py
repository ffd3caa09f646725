"""A recorded day, 24 hours of ServeGen's m-small, in virtual time: a switch every minute, nothing lost, memory flat.

The controller is the real one with its store, loop, policies and metrics; only time and the engine are emulated. So
this says nothing of vLLM: it shows what a day leaves behind in the controller.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.rows import at_most, exactly, shown
from benchmarks.harness.trace import plan_of
from benchmarks.harness.virtual_time import LoopClock, in_virtual_time
from reconfigure_daemon.assembly.wiring import Surroundings, build_loop
from reconfigure_daemon.control_loop import ControlLoop, new_intent
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.load_generation.plan import PlannedRequest, PlanOptions
from reconfigure_daemon.ports import EngineHost
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.store import Store
from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.energy import EnergyReading
from reconfigure_policies.domain.objective import IntentKind
from reconfigure_policies.domain.workload import FinishReason

TRACE = "servegen_m-small_day.csv.gz"
HOUR_S, SWITCH_EVERY_S = 3600.0, 60.0
MEGABYTE = 1e6

SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {"max_num_seqs": {"values": [64, 128, 256], "default": 256}, "block_size": {"values": [16, 32]}},
        "metering": {"interval_s": 5},
    }
)
#: Turns of hot and cold changes.
TURNS = ({"max_num_seqs": 128}, {"block_size": 32}, {"max_num_seqs": 256}, {"block_size": 16})


@dataclass(slots=True)
class Day:
    """What happened.

    Attributes:
        completed: requests whose every token came.
        bad: those that ended otherwise, in words.
        applied: switches that were made; `refused` says what the others ended with.
        resident: memory at each full hour, in bytes.
        descriptors: open files at each full hour.
    """

    completed: int = 0
    bad: list[str] = field(default_factory=list)
    applied: int = 0
    refused: list[str] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The day, in a thread of its own: virtual time needs an event loop of its own."""
    hours = 1.0 if arguments.quick else arguments.hours
    requests = plan_of(TRACE, PlanOptions(limit_s=hours * HOUR_S, sample=arguments.sample)).requests
    console.print(f"{len(requests)} requests over {hours:g} h of virtual time")
    began_s = time.monotonic()
    day = await asyncio.to_thread(in_virtual_time, story(requests, hours, console))
    took_s = time.monotonic() - began_s
    switches = round(hours * HOUR_S / SWITCH_EVERY_S) - 1
    return command.Findings(
        rows=[
            shown("a day in virtual time (emulated engine): requests", len(requests)),
            exactly("a day in virtual time (emulated engine): requests lost", len(requests) - day.completed, 0),
            exactly("a day in virtual time (emulated engine): switches made", day.applied, switches),
            at_most(
                "a day in virtual time: memory gained after the first quarter",
                growth(day.resident) / MEGABYTE,
                20,
                "MB",
            ),
            at_most("a day in virtual time: descriptors gained", growth(day.descriptors), 0),
            shown("a day in virtual time: real time", took_s, "s"),
        ],
        notes=[
            f"{TRACE}, share {arguments.sample:g} of its requests, {hours:g} h, a switch every {SWITCH_EVERY_S:g} s, "
            "hot and cold in turn. The controller is real, the engine emulated: no measurement of vLLM."
        ],
        details={"bad": day.bad[:20], "refused": day.refused[:20], "resident": day.resident, "fds": day.descriptors},
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much of the day."""
    parser.add_argument("--hours", type=float, default=24.0, help="of the trace (default: 24)")
    parser.add_argument("--sample", type=float, default=1.0, help="share of its requests (default: 1)")


def growth(values: list[int]) -> int:
    """From a quarter of the way, when caches are filled, to the end."""
    return values[-1] - values[len(values) // 4] if values else 0


async def story(requests: list[PlannedRequest], hours: float, console: Console) -> Day:
    """The day from its begin to its end."""
    day = Day()
    with tempfile.TemporaryDirectory(prefix="reconfigure-day-") as folder:
        async with running(Path(folder)) as (loop, host, clock):
            clients = asyncio.create_task(send(requests, host, day))
            watch = asyncio.create_task(look(day, hours, console))
            await switch_until(hours * HOUR_S, loop, clock, day)
            await asyncio.gather(clients, watch)
    return day


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[ControlLoop, EmulatedHost, LoopClock]]:
    """A controller and its engine."""
    clock = LoopClock()
    host = EmulatedHost(SETTINGS, clock, Emulation(boot_s=9))
    await host.boot({})
    store = Store.open(folder, clock)
    around = Surroundings(lambda: SETTINGS, clock, store, HostMeter(host), Metrics("day"), Adoption(host))
    loop = await build_loop(around)
    tasks = [
        asyncio.create_task(host.engine.run()),
        asyncio.create_task(loop.keeper.run(lambda: loop.target)),
        asyncio.create_task(loop.run(lambda: None)),
    ]
    while loop.orders.state.target is None or loop.sampler.state is None:  # noqa: ASYNC110  # virtual time
        await asyncio.sleep(0.5)
    try:
        yield loop, host, clock
    finally:
        await loop.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


class Adoption:
    """A launcher that finds one host."""

    def __init__(self, host: EmulatedHost) -> None:
        self._host = host

    async def adopt_or_start(self, configuration: Mapping[str, KnobValue] | None = None) -> EngineHost:
        """See `ports.EngineHostLauncher`."""
        return self._host

    async def restart(self, configuration: Mapping[str, KnobValue]) -> EngineHost:
        """See `ports.EngineHostLauncher`."""
        return self._host

    async def stop(self) -> None:
        """See `ports.EngineHostLauncher`."""


class HostMeter:
    """The emulated host's own joules."""

    def __init__(self, host: EmulatedHost) -> None:
        self._host = host

    def read(self) -> EnergyReading:
        """See `ports.EnergyMeter`."""
        return self._host.energy()

    def close(self) -> None:
        """Nothing to give back."""


async def send(requests: list[PlannedRequest], host: EmulatedHost, day: Day) -> None:
    """Every request at its time; returns when all have ended."""
    origin_s = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for request in requests:
            await asyncio.sleep(max(0.0, origin_s + request.due_s - asyncio.get_running_loop().time()))
            group.create_task(one(request, host, day))


async def one(request: PlannedRequest, host: EmulatedHost, day: Day) -> None:
    """One client, which counts its tokens."""
    prompt, wanted, tokens = max(1, request.prompt_tokens), max(1, request.output_tokens), 0
    async for so_far in host.engine.generate(prompt, wanted, (), 16, FinishReason.LENGTH):
        tokens = so_far
    if tokens == wanted:
        day.completed += 1
    else:
        day.bad.append(f"request {request.index}: {tokens} of {wanted} tokens")


async def switch_until(end_s: float, loop: ControlLoop, clock: LoopClock, day: Day) -> None:
    """A change every minute."""
    origin_s, number = clock.monotonic(), 0
    while origin_s + (number + 1) * SWITCH_EVERY_S < origin_s + end_s:
        await clock.sleep(origin_s + (number + 1) * SWITCH_EVERY_S - clock.monotonic())
        wanted = TURNS[number % len(TURNS)]
        number += 1
        try:
            handled = await loop.submit(new_intent(clock, IntentKind.APPLY, "api", changes=wanted))
        except ReconfigureError as refusal:
            day.refused.append(str(refusal))
            continue
        outcome = handled.record.outcome if handled.record is not None else None
        if outcome is not None and outcome.kind == "applied":
            day.applied += 1
        else:
            day.refused.append(f"{wanted}: {outcome}")


async def look(day: Day, hours: float, console: Console) -> None:
    """Memory and descriptors at every full hour (of a short run: every quarter of an hour)."""
    process = psutil.Process()
    step_s = HOUR_S if hours >= 4 else HOUR_S / 4
    for number in range(1, round(hours * HOUR_S / step_s) + 1):
        await asyncio.sleep(step_s)
        gc.collect()
        day.resident.append(process.memory_info().rss)
        day.descriptors.append(process.num_fds())
        resident_mb = day.resident[-1] / MEGABYTE
        hour = number * step_s / HOUR_S
        console.print(f"{hour:g} h: {day.completed} completed, {day.applied} switches, {resident_mb:.0f} MB")
