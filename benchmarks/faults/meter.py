"""NVML is lost and comes back: joules are unknown meanwhile, not zero, and no decision rests on them.

The driver is a library compiled for the purpose, whose GPU lives in a file; the controller loads it like
NVIDIA's. The engine is real and knows nothing of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.faults.scene import errors_logged, log_length, metric, witnessed
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.machine import PROJECT
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.rows import at_most, exactly
from reconfigure_daemon.metering.gpus import LONGEST_RETRY_S
from reconfigure_daemon.store.store import FILE_NAME

SOURCE = PROJECT / "tests" / "unit" / "metering" / "fake_nvml.c"

#: NVML's own number for a GPU that fell off the bus.
GPU_IS_LOST = 15

POWER_W, COUNT_INTERVAL_S = 200.0, 0.1
WINDOW_S, LOST_S, PATIENCE_S = 2.0, 20.0, 2 * LONGEST_RETRY_S


class FakeGpu:
    """A GPU whose counter counts for as long as it is told to.

    Attributes:
        environ: what makes a process find it.
        energy_j: what its counter shows.
    """

    def __init__(self, folder: Path) -> None:
        self.energy_j = 1000.0
        self._state, self._error = folder / "nvml.state", 0
        self.environ = {"FAKE_NVML_STATE": str(self._state), "LD_LIBRARY_PATH": str(compiled(folder))}
        self._write()

    def lose(self, error: int) -> None:
        """Every call on it fails with this number of NVML's; 0 brings it back."""
        self._error = error
        self._write()

    async def count(self) -> None:
        """Count at a steady power, also while nobody can read it, until cancelled."""
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(COUNT_INTERVAL_S)
            now_s = time.monotonic()
            self.energy_j, last_s = self.energy_j + POWER_W * (now_s - last_s), now_s
            self._write()

    def _write(self) -> None:
        fresh = self._state.with_suffix(".new")
        values = {"gpus": 1, "0.energy_mj": int(1000 * self.energy_j), "0.power_mw": int(1000 * POWER_W)}
        values["0.error"] = self._error
        fresh.write_text("".join(f"{name} {value}\n" for name, value in values.items()))
        fresh.replace(self._state)  # never half-written


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Lose the GPU for a while, and bring it back.

    Raises:
        ServerFailed: for an emulated engine, whose joules are its own model's.
    """
    if arguments.engine == "emulated":
        raise ServerFailed("an emulated engine has a meter of its own; lose NVML beside a real one: --engine vllm")
    async with Daemon("vllm", arguments.model, {"monitoring": {"window_s": WINDOW_S, "settle_s": 0}}) as daemon:
        async with counting(daemon) as gpu, witnessed(daemon, seed=0) as witness:
            await source_becomes(daemon, "measured")
            await asyncio.sleep(3 * WINDOW_S)
            logged, began_s = log_length(daemon), time.monotonic()
            gpu.lose(GPU_IS_LOST)
            await source_becomes(daemon, "unknown")
            noticed_s, lost_at, counted_j = time.monotonic() - began_s, time.time(), await joules(daemon)
            power_w = await metric(daemon, "reconfigure_power_watts")
            await asyncio.sleep(LOST_S)
            lost_j = await joules(daemon) - counted_j
            told = await metric(daemon, "reconfigure_window_energy_per_output_token_joules")
            back_at, began_s = time.time(), time.monotonic()
            gpu.lose(0)
            await source_becomes(daemon, "measured")
            returned_s, first_j = time.monotonic() - began_s, await joules(daemon) - counted_j
            await asyncio.sleep(3 * WINDOW_S)
            again_j = await joules(daemon) - counted_j - first_j
        lines, errors = daemon.controller.log.read_text()[logged:].splitlines(), errors_logged(daemon, logged)
        unmarked = windows_with_joules(daemon, lost_at + WINDOW_S, back_at)
        console.print(f"lost for {LOST_S:g} s, back after {returned_s:.1f} s; {witness.completed} requests completed")
    warnings = [line for line in lines if " WARNING " in line and "stopped answering" in line]
    return command.Findings(
        rows=[
            at_most("NVML lost: until its joules are marked unknown", noticed_s, 3, "s"),
            exactly("NVML lost: joules counted while unknown", round(lost_j, 3), 0, "J"),
            exactly(
                "NVML lost: powers and prices of a token that are shown", sum(x is not None for x in (power_w, told)), 0
            ),
            exactly("NVML lost: windows with joules", unmarked, 0),
            exactly("NVML lost: lines that say so", len(warnings), 1),
            at_most("NVML back: until joules are measured again", returned_s, LONGEST_RETRY_S, "s"),
            at_most("NVML back: joules of the gap that were counted late", first_j, POWER_W * 3, "J"),
            exactly("NVML back: counting again", int(again_j > POWER_W * WINDOW_S), 1),
            exactly("NVML lost and back: requests affected", len(witness.affected), 0),
            exactly("NVML lost and back: errors in the controller's log", len(errors), 0),
        ],
        notes=[
            f"The GPU was lost for {LOST_S:g} s; it is looked for again after 1, 2, 4 ... up to {LONGEST_RETRY_S:g} s."
        ],
        details={"affected": witness.affected, "log": [line for line in lines if " INFO " not in line]},
    )


@asynccontextmanager
async def counting(daemon: Daemon) -> AsyncIterator[FakeGpu]:
    """The controller is exchanged for one that finds a GPU, which counts while the block runs."""
    gpu = FakeGpu(daemon.folder)
    task = asyncio.create_task(gpu.count())
    try:
        await daemon.exchange_controller(gpu.environ)
        yield gpu
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def source_becomes(daemon: Daemon, source: str) -> None:
    """Wait until the GPU's joules come from a source."""

    async def known() -> bool:
        return await metric(daemon, "reconfigure_energy_source", device="gpu0", source=source) == 1

    await command.until(known, PATIENCE_S, f"energy that is {source}", 0.1)


async def joules(daemon: Daemon) -> float:
    """What was counted of the GPU, whatever the source."""
    return await metric(daemon, "reconfigure_energy_joules_total", device="gpu0") or 0.0


def windows_with_joules(daemon: Daemon, after: float, before: float) -> int:
    """Stored windows that ended between two wall-clock times and claim to know their joules."""
    with closing(sqlite3.connect(f"file:{daemon.folder / 'state' / FILE_NAME}?mode=ro", uri=True)) as reader:
        rows = reader.execute("SELECT workload FROM windows WHERE at > ? AND at < ?", (after, before)).fetchall()
    windows: list[dict[str, Any]] = [json.loads(workload) for (workload,) in rows]
    return sum(window.get("energy_j") is not None for window in windows)


def compiled(folder: Path) -> Path:
    """The folder of the compiled driver, under the name that pynvml looks for.

    Raises:
        ServerFailed: without a C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ServerFailed("a driver that can be lost has to be compiled: install a C compiler")
    target = folder / "driver"
    target.mkdir()
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(target / "libnvidia-ml.so.1"), str(SOURCE)], check=True)
    return target
