"""Switches to configurations that hang, crash, run out of memory or answer wrongly, while requests arrive.

On vLLM the hang is a booting core that is stopped (SIGSTOP), the crash one that is killed, and memory is asked for
that no machine has. Wrong answers cannot be had from a sound vLLM, so all four are on the emulated engine as well.
The deadline is short, because a target that hangs is waited for until then; the sound switch at the end has the shipped
one, since moving what has arrived meanwhile may rightly take longer on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.arrivals import Arrivals, arriving
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import Row, at_most, exactly, shown
from reconfigure_daemon.control_api.messages import OutcomeView
from reconfigure_daemon.settings.model import SwitchSettings

#: After the deadline: ending processes, writing the answer.
GRACE_S = 15.0

EMULATED_DEADLINE_S, VLLM_DEADLINE_S = 4.0, 60.0

#: Between two requests on vLLM: less than a processor that is busy with other things, too, can serve. With more, live
#: requests pile up while a target hangs, and what the sound switch is then timed by is the pile.
VLLM_SPACING_S = 2.0

#: Into the middle of a boot.
INTO_BOOT_S = 1.0

#: Block sizes that stand for what goes wrong with them.
EMULATED = {64: "hangs", 128: "boot_fails", 256: "out_of_memory", 512: "wrong_warm_up"}

#: The shipped size of the KV cache, which is a knob here, and one that no machine has.
MEMORY, TOO_MUCH_MEMORY = 2**31, 2**50


@dataclass(slots=True)
class Trial:
    """A switch that cannot succeed.

    Attributes:
        what: is wrong with its target.
        outcome: what the daemon said became of it.
        took_s: until then.
        same: whether exactly what was enforced before is enforced afterwards.
        left: processes below the engine host that were not there before, in words.
    """

    what: str
    outcome: OutcomeView | None
    took_s: float
    same: bool
    left: list[str]

    @property
    def undone(self) -> bool:
        """Whether it was rolled back, and the old configuration serves."""
        return self.same and self.outcome is not None and self.outcome.kind == "rolled_back"


@dataclass(slots=True)
class Trials:
    """All of one engine."""

    engine: str
    deadline_s: float
    trials: list[Trial] = field(default_factory=list)
    good_switch: bool = False
    good_detail: str = ""
    arrivals: Arrivals = field(default_factory=Arrivals)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The emulated engine first, then the real one."""
    found = [await on_emulated(console)]
    if arguments.engine == "vllm":
        found.append(await on_vllm(arguments.model, console))
    return command.Findings(
        rows=[row for each in found for row in rows(each)],
        notes=["Each switch is overlapped: the old core serves on and never stops."],
        details={
            each.engine: {
                "failures": each.arrivals.bad,
                "requests": dict(each.arrivals.by_status),
                "sound_switch": each.good_detail,
                "outcomes": {t.what: t.outcome.detail if t.outcome else None for t in each.trials},
                "processes_left": {t.what: t.left for t in each.trials if t.left},
            }
            for each in found
        },
    )


async def on_emulated(console: Console) -> Trials:
    """Each fault by the emulation's own rules."""
    faults = [{"when": {"block_size": size}, "fault": fault} for size, fault in EMULATED.items()]
    environ = {"EMULATED_ENGINE": json.dumps({"boot_s": 0.5, "faults": faults})}
    changes: dict[str, dict[str, Any]] = {
        "space": {"block_size": {"values": [32, *EMULATED, 1024], "default": 32}},
        "objectives": {"energy": {"block_size": 32}},
        "switch": {"deadline_s": EMULATED_DEADLINE_S},
    }
    found = Trials("emulated", EMULATED_DEADLINE_S)
    async with Daemon("emulated", "auto", changes, environ) as daemon, arriving(daemon, 120) as found.arrivals:
        for size, fault in EMULATED.items():
            found.trials.append(await trial(daemon, fault.replace("_", " "), {"block_size": size}))
            console.print(f"emulated: {fault}: {found.trials[-1].outcome}")
        found.good_switch, found.good_detail = await succeeds(daemon, {"block_size": 1024})
    return found


async def on_vllm(model: str, console: Console) -> Trials:
    """What can be done to a real core while it boots."""
    found = Trials("vllm", VLLM_DEADLINE_S)
    changes: dict[str, dict[str, Any]] = {
        "space": {"kv_cache_memory_bytes": {"values": [MEMORY, TOO_MUCH_MEMORY], "default": MEMORY}},
        "switch": {"deadline_s": VLLM_DEADLINE_S},
    }
    daemon = Daemon("vllm", model, changes, without="kv_cache_memory_bytes")
    async with daemon, arriving(daemon, 900, VLLM_SPACING_S) as found.arrivals:
        for what, change, act in (
            ("out of memory", {"kv_cache_memory_bytes": TOO_MUCH_MEMORY}, None),
            ("crashes", {"block_size": 64}, signal.SIGKILL),
            ("hangs", {"block_size": 64}, signal.SIGSTOP),
        ):
            found.trials.append(await trial(daemon, what, change, act))
            console.print(f"vllm: {what}: {found.trials[-1].outcome}")
        found.good_switch, found.good_detail = await succeeds(daemon, {"block_size": 64})
    return found


async def trial(daemon: Daemon, what: str, change: Mapping[str, Any], act: signal.Signals | None = None) -> Trial:
    """Ask for the switch, perhaps do something to the core that boots, and see what is enforced afterwards."""
    host = await daemon.host()
    known = descendants(host.pid)
    began_s = time.monotonic()
    switching = asyncio.create_task(daemon.apply(change))
    if act is not None:
        await command.until(lambda: signalled(host.pid, known, act), 60, "a core that boots", interval_s=0.2)
    result = await switching
    outcome = result.decision.outcome if result.decision else None
    took_s = time.monotonic() - began_s
    same = (await daemon.host()).enforced == host.enforced
    return Trial(what, outcome, took_s, same, named(descendants(host.pid) - known))


async def signalled(host_pid: int, known: set[int], number: signal.Signals) -> bool:
    """Send a signal to what the host has started since, if there is anything."""
    fresh = descendants(host_pid) - known
    if not fresh:
        return False
    await asyncio.sleep(INTO_BOOT_S)
    for pid in descendants(host_pid) - known:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return True


def descendants(pid: int) -> set[int]:
    """Every process below one."""
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


def named(pids: set[int]) -> list[str]:
    """Processes in words: id, name and state, which tells one that was stopped."""
    words = []
    for pid in sorted(pids):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            words.append(f"{pid} {process.name()} ({process.status()})")
    return words


async def succeeds(daemon: Daemon, change: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a sound switch works afterwards, within the shipped deadline, and its outcome in words."""
    await daemon.reload({"switch": {"deadline_s": SwitchSettings().deadline_s}})
    result = await daemon.apply(change)
    outcome = result.decision.outcome if result.decision is not None else None
    if outcome is None:
        return False, "none"
    measured = " ".join(f"{name}={value:g}" for name, value in outcome.measurements.items())
    return outcome.kind == "applied", f"{outcome.kind} after {outcome.duration_s:.1f} s: {outcome.detail} {measured}"


def rows(found: Trials) -> list[Row]:
    """What must hold, per engine."""
    name = "vLLM" if found.engine == "vllm" else "emulated engine"
    limit_s = found.deadline_s + GRACE_S
    return [
        row
        for each in found.trials
        for row in (
            exactly(f"target that {each.what} ({name}): rolled back", int(each.undone), 1),
            at_most(f"target that {each.what} ({name}): over after", each.took_s, limit_s, "s"),
        )
    ] + [
        exactly(f"faulty targets ({name}): requests lost or broken", len(found.arrivals.bad), 0),
        shown(f"faulty targets ({name}): requests completed meanwhile", found.arrivals.completed),
        exactly(f"faulty targets ({name}): a sound switch afterwards", int(found.good_switch), 1),
    ]
