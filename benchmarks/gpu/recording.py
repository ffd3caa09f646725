"""An engine's own readings, once a second, kept so that a model of it can be judged without the engine."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from benchmarks.harness.energy_track import EnergyTrack
from benchmarks.harness.machine import origin
from reconfigure_daemon.errors import ReconfigureError, RequestInvalid
from reconfigure_daemon.ports import EngineHost, HostState, TelemetryBatch
from reconfigure_policies.decision.governor import EngineReading, EngineSample, sample_between

INTERVAL_S = 1.0

_KNOBS = ("pacing_interval_s", "max_num_seqs", "max_num_batched_tokens")


class Recorder:
    """A context: inside it, telemetry, hot knobs and joules are read about once a second, and written at once.

    Args:
        host: the engine.
        energy: of its machine.
        path: a JSON document per line, compressed, the first of which says where and when; None to record nothing.
    """

    def __init__(self, host: EngineHost, energy: EnergyTrack, path: Path | None) -> None:
        self._host = host
        self._energy = energy
        self._path = path
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._path is not None:
            with gzip.open(self._path, "wt", encoding="utf-8") as lines:
                lines.write(json.dumps({"origin": origin()}) + "\n")
            self._task = asyncio.create_task(self._record(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _record(self, path: Path) -> None:
        after, due_s = 0, time.monotonic()
        while True:
            with suppress(ReconfigureError):  # an engine that is being changed answers again later
                batch, state = await self._host.telemetry(after), await self._host.state()
                after = batch.next_after
                with gzip.open(path, "at", encoding="utf-8") as lines:  # whole lines survive whatever ends the run
                    lines.write(json.dumps(self._entry(batch, state)) + "\n")
            due_s += INTERVAL_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    def _entry(self, batch: TelemetryBatch, state: HostState) -> dict[str, Any]:
        return {
            "knobs": {name: state.enforced[name] for name in _KNOBS if name in state.enforced},
            "energy_j": self._energy.joules_at(time.monotonic()),
            "batch": batch.model_dump(mode="json"),
        }


def origin_of(path: Path) -> Mapping[str, Any]:
    """Where, when and with what a recording was made.

    Raises:
        RequestInvalid: if the file is not there, or no recording that says so.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found: Mapping[str, Any] = json.loads(next(lines))["origin"]
    except (OSError, ValueError, KeyError, StopIteration) as fault:
        raise RequestInvalid(f"{path} is no recording of `--recording`: {fault!r}") from None
    return found


def samples_of(path: Path) -> Iterator[tuple[Mapping[str, Any], EngineSample]]:
    """What a governor would have been shown: the knobs of each second and what happened in it."""
    batches = TypeAdapter(TelemetryBatch)
    earlier: EngineReading | None = None
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines][1:]
    for entry in entries:
        batch = batches.validate_python(entry["batch"])
        reading = EngineReading(batch.totals, batch.steps, entry["energy_j"], batch.replicas)
        sample = None if earlier is None else sample_between(earlier, reading, tuple(batch.records))
        earlier = reading
        if sample is not None:
            yield entry["knobs"], sample
