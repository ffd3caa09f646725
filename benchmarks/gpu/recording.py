"""An engine's own readings, once a second, kept so that a model of it can be judged without the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

from pydantic import TypeAdapter

from benchmarks.gpu.energy_track import EnergyTrack
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_daemon.ports import EngineHost, HostState, TelemetryBatch
from reconfigure_policies.decision.governor import EngineReading, EngineSample, sample_between

INTERVAL_S = 1.0

_KNOBS = ("pacing_interval_s", "max_num_seqs", "max_num_batched_tokens")


class Recorder:
    """A context: inside it, telemetry, hot knobs and joules are read about once a second."""

    def __init__(self, host: EngineHost, energy: EnergyTrack) -> None:
        self._host = host
        self._energy = energy
        self._entries: list[dict[str, Any]] = []
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._record())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def recording(self) -> list[dict[str, Any]]:
        """Every reading, in JSON's types."""
        return self._entries

    async def _record(self) -> None:
        after, due_s = 0, time.monotonic()
        while True:
            with suppress(ReconfigureError):  # an engine that is being changed answers again later
                batch, state = await self._host.telemetry(after), await self._host.state()
                after = batch.next_after
                self._entries.append(self._entry(batch, state))
            due_s += INTERVAL_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    def _entry(self, batch: TelemetryBatch, state: HostState) -> dict[str, Any]:
        return {
            "knobs": {name: state.enforced[name] for name in _KNOBS if name in state.enforced},
            "energy_j": self._energy.joules_at(time.monotonic()),
            "batch": batch.model_dump(mode="json"),
        }


def samples_of(recording: list[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], EngineSample]]:
    """What a governor would have been shown: the knobs of each second and what happened in it."""
    batches = TypeAdapter(TelemetryBatch)
    earlier: EngineReading | None = None
    for entry in recording:
        batch = batches.validate_python(entry["batch"])
        reading = EngineReading(batch.totals, batch.steps, entry["energy_j"])
        sample = None if earlier is None else sample_between(earlier, reading, tuple(batch.records))
        earlier = reading
        if sample is not None:
            yield entry["knobs"], sample
