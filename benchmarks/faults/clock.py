"""The wall clock steps forward an hour, and back: schedules follow it, windows and joules do not notice.

The controller's clock is libfaketime's (Debian package `libfaketime`); the engine keeps the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.faults.scene import errors_logged, log_length, metric, witnessed
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.rows import Row, at_most, exactly, shown
from reconfigure_daemon.store.store import FILE_NAME

STEP_S = 3600
WINDOW_S = 2.0
PATIENCE_S = 60.0

#: After a step that was followed nothing more may change for this long.
QUIET_S = 10.0

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)


class SteppedClock:
    """A clock that can be set, for one process and its children.

    Raises:
        ServerFailed: without libfaketime.
    """

    def __init__(self, folder: Path) -> None:
        library = next((path for path in LIBRARIES if path.exists()), None)
        if library is None:
            raise ServerFailed("there is no libfaketime; install it: apt-get install libfaketime")
        self._path = folder / "clock"
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Show the machine's time and so many seconds more, at once."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+d}\n")
        fresh.replace(self._path)  # never half-written


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Forward an hour, back an hour, back another hour, and to the true time."""
    rows: list[Row] = []
    async with Daemon(arguments.engine, arguments.model, settings_around(datetime.now(UTC))) as daemon:
        clock = SteppedClock(daemon.folder)
        await daemon.exchange_controller(clock.environ)
        await until_objective(daemon, "energy")  # by its schedule: at the start it is another
        await daemon.intend({"kind": "objective", "objective": "balanced", "expires_in_s": STEP_S / 2})
        logged, began_at = log_length(daemon), time.time()
        async with witnessed(daemon, seed=0) as witness:
            for what, ahead_s, objective in (
                ("forward an hour: until the schedule that began meanwhile holds", STEP_S, "throughput"),
                ("back to the true time: until the schedule of this hour holds", 0, "energy"),
                ("back another hour: until the schedule of that hour holds", -STEP_S, "balanced"),
                ("forward to the true time: until the schedule of this hour holds", 0, "energy"),
            ):
                clock.set(ahead_s)
                rows += await followed(daemon, what, objective)
                console.print(f"{what}: {rows[-2].value:.2f} s")
        errors, lengths_s = errors_logged(daemon, logged), window_lengths_s(daemon, began_at - 2 * STEP_S)
    wrong = [length_s for length_s in lengths_s if not WINDOW_S / 2 <= length_s <= 3 * WINDOW_S]
    rows += [
        exactly("windows that are much shorter or longer than set", len(wrong), 0),
        shown("windows in all", len(lengths_s)),
        exactly("probes of the controller's health that failed", witness.unanswered, 0),
        exactly("requests affected", len(witness.affected), 0),
        exactly("errors in the controller's log", len(errors), 0),
    ]
    return command.Findings(
        rows=rows,
        notes=[
            "A temporary objective of half an hour was in force before the first step, and ended with it.",
            f"Windows are {WINDOW_S:g} s long.",
        ],
        details={"window_lengths_s": lengths_s, "affected": witness.affected, "errors": errors},
    )


async def followed(daemon: Daemon, what: str, objective: str) -> list[Row]:
    """How long a step took to be followed, and whether anything changed after that."""
    began_s = time.monotonic()
    await until_objective(daemon, objective)
    took_s, changes = time.monotonic() - began_s, await decisions(daemon)
    await asyncio.sleep(QUIET_S)
    step = what.partition(":")[0]
    return [
        at_most(f"clock {what}", took_s, 5, "s"),
        exactly(f"clock {step}: changes in the {QUIET_S:g} s after that", await decisions(daemon) - changes, 0),
    ]


async def until_objective(daemon: Daemon, objective: str) -> None:
    """Wait until an objective is in force and nothing is under way."""

    async def in_force() -> bool:
        status = await daemon.status()
        return status.objective == objective and status.action is None

    await command.until(in_force, PATIENCE_S, f"objective {objective}", 0.1)


async def decisions(daemon: Daemon) -> float:
    """How many decisions were made."""
    return await metric(daemon, "reconfigure_decisions_total") or 0.0


def settings_around(now: datetime) -> Mapping[str, Mapping[str, Any]]:
    """Three schedules: one for the hour before, one for this hour, one for the next; all of their changes are hot."""
    hot = {name: {"block_size": 32} for name in ("energy", "throughput", "balanced")}
    begins = {"balanced": now - timedelta(minutes=95), "energy": now - timedelta(minutes=30)}
    begins["throughput"] = now + timedelta(minutes=30)
    schedules = {
        f"for_{objective}": {"cron": f"{at.minute} {at.hour} * * *", "timezone": "UTC", "objective": objective}
        for objective, at in begins.items()
    }
    return {
        "objectives": hot,
        "schedules": schedules,
        "monitoring": {"window_s": WINDOW_S, "settle_s": 0},
    }


def window_lengths_s(daemon: Daemon, since: float) -> list[float]:
    """Lengths of the stored windows that ended after a wall-clock time."""
    with closing(sqlite3.connect(f"file:{daemon.folder / 'state' / FILE_NAME}?mode=ro", uri=True)) as reader:
        rows = reader.execute("SELECT workload FROM windows WHERE at > ?", (since,)).fetchall()
    return [float(json.loads(workload)["duration_s"]) for (workload,) in rows]
