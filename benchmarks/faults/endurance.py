"""A daemon under load in real time with a switch every minute: nothing lost, memory and descriptors flat.

python -m benchmarks.faults endurance --minutes 60
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass, field
from statistics import median

import psutil
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.arrivals import arriving
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import Row, at_most, exactly, shown
from benchmarks.harness.switches import Switches
from reconfigure_daemon.load_generation.results import RequestStatus

LOOK_EVERY_S, SWITCH_EVERY_S = 5.0, 60.0
MEGABYTE = 1e6

#: Hot and cold in turn.
TURNS = ({"max_num_seqs": 32}, {"block_size": 64}, {"max_num_seqs": 64}, {"block_size": 32})


@dataclass(slots=True)
class Track:
    """A process through time: resident bytes and open descriptors at each look."""

    resident: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self, process: psutil.Process) -> None:
        """Note how it is now."""
        with process.oneshot():
            self.resident.append(process.memory_info().rss)
            self.descriptors.append(process.num_fds())

    def resident_growth(self) -> float:
        """Bytes from the second quarter's median to the last one's; the first fills caches, single peaks count not."""
        second, last = _quarters(self.resident)
        return median(last) - median(second)

    def descriptor_growth(self) -> int:
        """From the least in the second quarter to the least in the last: live requests are connections, and pass."""
        second, last = _quarters(self.descriptors)
        return min(last) - min(second)


def _quarters(values: list[int]) -> tuple[list[int], list[int]]:
    """The second and the last, or all there is."""
    quarter = max(1, len(values) // 4)
    return values[quarter : 2 * quarter] or values, values[-quarter:]


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """One daemon; the controller and the engine host are watched, cores come and go."""
    minutes = 2.0 if arguments.quick else arguments.minutes
    controller, host, switches = Track(), Track(), Switches()
    async with (
        Daemon(arguments.engine, arguments.model) as daemon,
        arriving(daemon, 60 * minutes + 600, arguments.spacing) as arrivals,
    ):
        watched = [
            (controller, psutil.Process(daemon.controller.pid)),
            (host, psutil.Process((await daemon.host()).pid)),
        ]
        watch = asyncio.create_task(look(watched))
        end_s = time.monotonic() + 60 * minutes
        while (begun_s := time.monotonic()) < end_s:
            console.print(await switches.make(daemon, TURNS[len(switches.made) % len(TURNS)]))
            await asyncio.sleep(max(0.0, SWITCH_EVERY_S - (time.monotonic() - begun_s)))
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    return command.Findings(
        rows=[
            shown("under load with a switch a minute: minutes", minutes),
            shown("under load with a switch a minute: requests completed", arrivals.completed),
            exactly("under load with a switch a minute: requests lost or broken", len(arrivals.bad), 0),
            shown("under load with a switch a minute: switches", len(switches.made)),
            exactly("under load with a switch a minute: switches not applied", len(switches.not_applied), 0),
            *flat("controller", controller, 10),
            *flat("engine host", host, 50),
        ],
        notes=[
            f"A request every {arguments.spacing:g} s. Growth is from the second quarter to the last, of the median of "
            "resident memory and of the least descriptors, since live requests are connections as well. Cores are not "
            "counted: every cold switch ends one."
        ],
        details={
            "requests": dict(arrivals.by_status),
            "failures": arrivals.bad,
            "not_applied": switches.not_applied,
            "controller": {"resident": controller.resident, "descriptors": controller.descriptors},
            "host": {"resident": host.resident, "descriptors": host.descriptors},
            "unfinished_at_the_end": arrivals.by_status[RequestStatus.UNFINISHED.value],
        },
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long and how much."""
    parser.add_argument("--minutes", type=float, default=60.0, help="under load (default: 60)")
    parser.add_argument("--spacing", type=float, default=1.0, help="seconds from request to request (default: 1)")


async def look(watched: list[tuple[Track, psutil.Process]]) -> None:
    """Look at the processes until cancelled."""
    while True:
        for track, process in watched:
            track.look(process)
        await asyncio.sleep(LOOK_EVERY_S)


def flat(name: str, track: Track, most_mb: float) -> list[Row]:
    """That a process keeps nothing."""
    return [
        at_most(f"{name}: resident memory gained", track.resident_growth() / MEGABYTE, most_mb, "MB"),
        at_most(f"{name}: open descriptors gained", track.descriptor_growth(), 0),
    ]
