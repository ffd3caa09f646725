"""`kill -9` of the controller at random moments, also in the middle of a switch, while requests arrive.

A killed controller is started again at once, as systemd would do, and adopts the engine, which has not stopped. A
switch that was under way belongs to the engine host, which finishes or undoes it alone; the next controller reads back
what came of it. Most kills are on the emulated engine, where they cost no boots; the rest on vLLM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.arrivals import Arrivals, arriving
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.rows import Row, at_least, exactly, shown

SEED = 17
SETTLING_TIMEOUT_S = 180.0

#: An emulated boot lasts long enough to be killed in its midst.
EMULATED_BOOT_S = 1.5

#: Every second kill hits a switch that is under way.
SWITCH_EVERY = 2


@dataclass(slots=True)
class Kills:
    """What the kills did.

    Attributes:
        engine: which one served.
        hits: kills during a switch.
        other_hosts: engines that were not adopted.
        unsettled: after how many the state was not consistent in time, in words.
        outcomes: how the switches that were hit ended.
    """

    engine: str
    count: int = 0
    hits: int = 0
    other_hosts: int = 0
    unsettled: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    arrivals: Arrivals = field(default_factory=Arrivals)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The emulated engine first, then the real one."""
    found = [await kills("emulated", "auto", 4 if arguments.quick else arguments.kills, console)]
    if arguments.engine == "vllm":
        count = 2 if arguments.quick else arguments.vllm_kills
        found.append(await kills("vllm", arguments.model, count, console))
    return command.Findings(
        rows=[row for each in found for row in rows(each)],
        notes=[
            f"Every {SWITCH_EVERY}nd kill is at a random moment of a cold switch, the others at a random moment of "
            "ordinary work. State: target and enforced values agree, nothing runs, and every decision that changes "
            "something has its outcome.",
        ],
        details={
            each.engine: {
                "requests": dict(each.arrivals.by_status),
                "failures": each.arrivals.bad,
                "unsettled": each.unsettled,
                "outcomes": dict(each.outcomes),
            }
            for each in found
        },
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How often."""
    parser.add_argument("--kills", type=int, default=50, help="on the emulated engine (default: 50)")
    parser.add_argument("--vllm-kills", type=int, default=12, help="on vLLM (default: 12)")


async def kills(engine: str, model: str, count: int, console: Console) -> Kills:
    """Kill so many controllers of one daemon."""
    draws, found = random.Random(SEED), Kills(engine)
    environ = {"EMULATED_ENGINE": json.dumps({"boot_s": EMULATED_BOOT_S})}
    async with Daemon(engine, model, environ=environ) as daemon, arriving(daemon, 60.0 * count) as found.arrivals:
        switch_s = EMULATED_BOOT_S
        if engine == "vllm":  # one that is left alone, to know how long there is to kill
            began_s = asyncio.get_running_loop().time()
            await daemon.apply({"block_size": 64})
            switch_s = asyncio.get_running_loop().time() - began_s
        for kill in range(count):
            await one(daemon, draws, found, kill, switch_s)
            console.print(f"{engine}: controller {kill + 1} of {count} killed; {found.hits} during a switch")
    return found


async def one(daemon: Daemon, draws: random.Random, found: Kills, number: int, switch_s: float) -> None:
    """Kill a controller, start the next, and see that everything is in order."""
    before = await daemon.host()
    switching: asyncio.Task[object] | None = None
    if number % SWITCH_EVERY:
        other = 32 if before.enforced["block_size"] == 64 else 64
        switching = asyncio.create_task(daemon.apply({"block_size": other}))
        await asyncio.sleep(draws.uniform(0.1, switch_s))
    else:
        await asyncio.sleep(draws.uniform(0.2, 2.0))
    hit = switching is not None and not switching.done()
    daemon.controller.kill()
    found.count += 1
    found.hits += hit
    if switching is not None:
        with suppress(aiohttp.ClientError, ServerFailed, OSError):
            await switching
    daemon.start_controller()
    await daemon.ready()
    try:
        await command.until(lambda: consistent(daemon), SETTLING_TIMEOUT_S, "a consistent state")
    except command.BenchmarkStuck as stuck:
        found.unsettled.append(str(stuck))
    found.other_hosts += (await daemon.host()).host_id != before.host_id
    if hit:
        redeploy = next(decision for decision in await daemon.decisions() if decision.kind == "redeploy")
        found.outcomes[redeploy.outcome.kind.value if redeploy.outcome else "none"] += 1


async def consistent(daemon: Daemon) -> bool:
    """Whether target, enforced values and history tell one story."""
    try:
        status = await daemon.status()
        decisions = await daemon.decisions()
    except aiohttp.ClientError:
        return False
    return (
        status.engine is not None
        and status.engine.action is None
        and status.action is None
        and status.enforced == status.target
        and all(decision.outcome is not None for decision in decisions if decision.kind != "keep")
    )


def rows(found: Kills) -> list[Row]:
    """What must hold, per engine."""
    name = "vLLM" if found.engine == "vllm" else "emulated engine"
    finished = found.outcomes["applied"] + found.outcomes["rolled_back"]
    return [
        shown(f"controller killed ({name}): times", found.count),
        at_least(f"controller killed ({name}): of them during a switch", found.hits, found.count // 4),
        exactly(f"controller killed ({name}): requests lost or broken", len(found.arrivals.bad), 0),
        shown(f"controller killed ({name}): requests completed meanwhile", found.arrivals.completed),
        exactly(f"controller killed ({name}): engines not adopted", found.other_hosts, 0),
        exactly(f"controller killed ({name}): inconsistent states", len(found.unsettled), 0),
        exactly(f"controller killed ({name}): switches neither finished nor undone", found.hits - finished, 0),
    ]
