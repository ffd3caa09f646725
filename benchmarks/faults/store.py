"""The store fails: its disk is full, another process locks it, its file is destroyed while the controller is away.

Serving must not notice, one line must say what is wrong, and what was decided meanwhile must not be forgotten. Needs
root, for a small file system that can be filled.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.faults.scene import Witness, changed, errors_logged, log_length, metric, witnessed
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.rows import Row, at_most, exactly, shown
from reconfigure_daemon.store.fault_tolerance import RETRY_INTERVAL_S
from reconfigure_daemon.store.store import FILE_NAME

DISK_BYTES = 16 * 2**20
PATIENCE_S = 120.0

#: Windows are stored this often, so that a failing store is found out.
WINDOW_S = 1.0


@dataclass(slots=True)
class Survived:
    """One fault of the store.

    Attributes:
        witness: what clients saw.
        errors: lines of the log.
        kept: whether a change that was made meanwhile is in the store afterwards.
        back_s: from the end of the fault until the store was written again.
    """

    witness: Witness
    errors: list[str]
    kept: bool
    back_s: float


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """All faults in turn, on one daemon."""
    found: dict[str, Survived] = {}
    with small_disk() as disk:
        changes: dict[str, dict[str, Any]] = {
            "paths": {"state": str(disk)},
            "monitoring": {"window_s": WINDOW_S, "settle_s": 0},
        }
        async with Daemon(arguments.engine, arguments.model, changes) as daemon:
            database, before = disk / FILE_NAME, (await daemon.host()).host_id
            for number, (name, fault) in enumerate(FAULTS.items()):
                found[name] = await survived(daemon, database, fault, number)
                console.print(f"{name}: {found[name].witness.completed} requests completed, {found[name].errors}")
            same_host = (await daemon.host()).host_id == before
    rows = [row for name, survival in found.items() for row in rows_of(name, survival)]
    return command.Findings(
        rows=[*rows, exactly("all of these: engine hosts that had to be replaced", int(not same_host), 0)],
        notes=[f"The store is tried again every {RETRY_INTERVAL_S:g} s."],
        details={
            name: {"errors": survival.errors, "affected": survival.witness.affected, "back_s": survival.back_s}
            for name, survival in found.items()
        },
    )


async def survived(
    daemon: Daemon, database: Path, fault: Callable[[Daemon, Path], AsyncIterator[None]], number: int
) -> Survived:
    """Have the fault last until it was noticed and a knob was changed, then until the store works again."""
    logged = log_length(daemon)
    async with witnessed(daemon, seed=number) as witness:
        async with asynccontextmanager(fault)(daemon, database):
            decision = await changed(daemon, {"max_num_seqs": (32, 64)[number % 2]})
        ended_s = time.monotonic()
        await command.until(lambda: stored(daemon, database, decision), PATIENCE_S, "the store to work again", 0.2)
        back_s = time.monotonic() - ended_s
    return Survived(witness, errors_logged(daemon, logged), decision is not None, back_s)


async def disk_full(daemon: Daemon, database: Path) -> AsyncIterator[None]:
    """No byte is left."""
    filler = database.with_name("filler")
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass
    await degraded(daemon)
    yield
    filler.unlink()


async def locked(daemon: Daemon, database: Path) -> AsyncIterator[None]:
    """Another process holds the write lock."""
    with closing(sqlite3.connect(database, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        await degraded(daemon)
        yield
        intruder.execute("ROLLBACK")


async def destroyed(daemon: Daemon, database: Path) -> AsyncIterator[None]:
    """The controller is killed, the file is overwritten, the next controller starts."""
    daemon.controller.kill()
    overwrite(database)
    daemon.start_controller()
    await daemon.ready()
    yield


FAULTS: dict[str, Callable[[Daemon, Path], AsyncIterator[None]]] = {
    "disk full": disk_full,
    "database locked": locked,
    "database destroyed": destroyed,
}


def rows_of(name: str, survival: Survived) -> list[Row]:
    """What a fault of the store must not have done."""
    rows = [
        exactly(f"{name}: requests affected", len(survival.witness.affected), 0),
        exactly(f"{name}: lines that say so", len(survival.errors), 1),
        exactly(f"{name}: changes meanwhile that are in the store afterwards", int(survival.kept), 1),
        at_most(f"{name}: until the store works again", survival.back_s, RETRY_INTERVAL_S + 5, "s"),
    ]
    if name != "database destroyed":  # then nobody is there to answer for a moment
        rows.append(exactly(f"{name}: probes of the control API without answer", survival.witness.unanswered, 0))
        rows.append(shown(f"{name}: slowest answer of the control API", survival.witness.slowest_probe_s, "s"))
    return rows


async def degraded(daemon: Daemon) -> None:
    """Wait until the controller has noticed."""

    async def known() -> bool:
        return await metric(daemon, "reconfigure_store_degraded") == 1

    await command.until(known, PATIENCE_S, "the fault to be noticed", 0.1)


async def stored(daemon: Daemon, database: Path, decision: int | None) -> bool:
    """Whether the store is whole, takes writes, and has a decision."""
    if await metric(daemon, "reconfigure_store_degraded") != 0:
        return False
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
            rows = reader.execute("SELECT count(*) FROM decisions WHERE id = ?", (decision,)).fetchone()
            return bool(rows[0])
    except sqlite3.Error:
        return False


def overwrite(database: Path) -> None:
    """Fill the file and its journals with noise, as long as they are."""
    for path in (database, database.with_name(f"{database.name}-wal")):
        if path.exists():
            with path.open("r+b") as file:
                file.write(os.urandom(path.stat().st_size))


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of its own in memory.

    Raises:
        ServerFailed: if it cannot be mounted.
    """
    folder = Path(tempfile.mkdtemp(prefix="reconfigure-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(folder)
        raise ServerFailed(f"a small disk needs root: {' '.join(mount)}: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
