"""Switches of a real core under live streams on a GPU: nothing lost, token for token, and how long a stream stands.

    python -m benchmarks.gpu.switch [--streams 64,256] [--repeats 4] [--quick]

A Mistral-7B shape with random weights, in one process with the engine host's own router and no HTTP: 512-token
prompts, 800 forced output tokens, six kinds of sampling. Streams begin once the new core has booted, so that a
switch meets each of them some hundred tokens long; their tokens are compared with a run without a switch. Nothing
of the device is set; prefix caches are cleared between the runs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gpu.random_model import write_random_model
from benchmarks.harness import command
from benchmarks.harness.machine import gpus_to_use
from benchmarks.harness.rows import Row, at_most, exactly, shown
from benchmarks.harness.statistics import percentile
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.ports import SwitchMode, SwitchProgress, SwitchReport, SwitchRequest
from reconfigure_daemon.settings import Settings

PROMPT_TOKENS, OUTPUT_TOKENS, BEGUN_TOKENS = 512, 800, 150
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {}, "seeded": {"temperature": 0.9, "seed": 11}, "presence penalty": {"presence_penalty": 1.1},
    "frequency penalty": {"frequency_penalty": 0.7}, "repetition penalty": {"repetition_penalty": 1.2},
    "log probabilities": {"logprobs": 3},
}  # fmt: skip
STALL_TARGETS_S = {64: 0.08, 256: 0.2}
STALL_NOTE = "The stall is from a stream's last output in the old core to its first in the new."
ENVIRONMENT = {"VLLM_USE_FLASHINFER_SAMPLER": "0", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


@dataclass
class Run:
    """One round of streams: their tokens, their longest gaps in seconds, and the switch made meanwhile."""

    tokens: list[list[int]]
    gaps_s: list[float]
    report: SwitchReport | None = None

    def differing(self, other: Run) -> int:
        """How many streams have other tokens than in another run."""
        return sum(mine != theirs for mine, theirs in zip(self.tokens, other.tokens, strict=True))

    def cut_short(self) -> int:
        """Streams that did not get all their tokens."""
        return sum(len(tokens) != OUTPUT_TOKENS for tokens in self.tokens)

    def details(self) -> dict[str, Any]:
        """For the result's raw values."""
        gaps = {f"p{100 * share:.0f}": percentile(self.gaps_s, share) for share in (0.5, 0.95, 1)}
        return {"longest_gap_s": gaps, "report": self.report.model_dump(mode="json") if self.report else None}


class Laboratory:
    """An engine host without HTTP, and the streams that are run through it."""

    def __init__(self, host: Any, engine: Any, console: Console) -> None:
        self.host = host
        self.engine = engine
        self._console = console
        self._rounds = 0

    async def streams(self, count: int) -> Run:
        """Without a switch."""
        await self.engine.reset_prefix_cache()
        return await self._collect(self._begin(count))

    async def streams_and(self, count: int, act: Callable[[], Awaitable[SwitchReport | None]]) -> Run:
        """Something happens when every stream has begun."""
        await self.engine.reset_prefix_cache()
        streams = self._begin(count)
        await self._begun(count)
        report = await act()
        return await self._collect(streams, report)

    async def streams_over(self, count: int, changes: Mapping[str, Any]) -> Run:
        """An overlapped switch whose new core has booted when the streams begin."""
        prepare, streams = self.host._prepare, []  # noqa: SLF001  # the moment between boot and pre-copy

        async def begin_streams(core: Any) -> None:
            await prepare(core)
            streams.extend(self._begin(count))
            await self._begun(count)

        self.host._prepare = begin_streams  # noqa: SLF001
        try:
            report = await self.switch(changes, SwitchMode.OVERLAPPED)
        finally:
            self.host._prepare = prepare  # noqa: SLF001
        return await self._collect(streams, report)

    async def switch(self, changes: Mapping[str, Any], mode: SwitchMode) -> SwitchReport:
        """Move to the configuration with these changes."""
        configuration = {**(await self.host.state()).target, **changes}
        request = SwitchRequest(configuration=configuration, mode=mode)
        report: SwitchReport = await self.host.switch(request, self._say)
        self._console.print(f"  {report.outcome} {report.mode} stall {report.stall_s} s, phases {report.phases_s}")
        return report

    async def kill_core(self) -> None:
        """As a fault would."""
        os.kill(self.host.router.serving.pids[0], signal.SIGKILL)

    def _begin(self, count: int) -> list[asyncio.Task[tuple[list[int], float]]]:
        self._rounds += 1
        return [asyncio.create_task(self._stream(f"{self._rounds}-{i}", i)) for i in range(count)]

    async def _begun(self, count: int) -> None:
        await self.host.ledger.until(lambda: self._long_enough() >= count, 120)

    def _long_enough(self) -> int:
        return sum(len(live.generated) >= BEGUN_TOKENS for live in self.host.ledger)

    async def _stream(self, name: str, number: int) -> tuple[list[int], float]:
        from vllm import SamplingParams

        kind = list(KINDS.values())[number % len(KINDS)]
        params = {"temperature": 0.0, "max_tokens": OUTPUT_TOKENS, "ignore_eos": True, "detokenize": False, **kind}
        prompt = {"prompt_token_ids": [3 + (number * 997 + k * 31) % 31000 for k in range(PROMPT_TOKENS)]}
        tokens: list[int] = []
        times_s: list[float] = []
        async for output in self.engine.generate(prompt, SamplingParams(**params), request_id=name):
            times_s.append(time.monotonic())
            tokens = list(output.outputs[0].token_ids)
        return tokens, max(later - earlier for earlier, later in itertools.pairwise(times_s))

    async def _collect(self, streams: list[asyncio.Task[Any]], report: SwitchReport | None = None) -> Run:
        ended = await asyncio.gather(*streams)
        return Run([tokens for tokens, _ in ended], [gap_s for _, gap_s in ended], report)

    def _say(self, progress: SwitchProgress) -> None:
        self._console.print(f"    {progress.elapsed_s:7.2f} s {progress.phase} {progress.detail}")


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """All counts of streams, then a sequential switch and a killed core."""
    findings = command.Findings(notes=[STALL_NOTE])
    laboratory = await open_laboratory(arguments, console, settings_for)
    await laboratory.streams(8)  # compiles what the first streams need
    counts = [int(count) for count in arguments.streams.split(",")]
    repeats = 1 if arguments.quick else arguments.repeats
    for count in counts:
        await measure_overlapped(laboratory, count, repeats, findings)
    await measure_gaps(laboratory, counts[0], findings)
    laboratory.engine.shutdown()
    return findings


async def open_laboratory(
    arguments: argparse.Namespace, console: Console, settings_for_model: Callable[[Path], Settings]
) -> Laboratory:
    """Boot the first core, on a model with random weights.

    Raises:
        RequestInvalid: if an emulation is asked for: it has no core whose streams could move.
        GpusMissing: if there is none.
    """
    if arguments.engine != "vllm":
        raise RequestInvalid("this measures vLLM's own core, which nothing emulates: leave --engine out")
    gpus_to_use(1, least=1)
    os.environ.update(ENVIRONMENT)
    from reconfigure_daemon.engine_host import arguments as vllm_arguments
    from reconfigure_daemon.engine_host import vllm_names
    from reconfigure_daemon.engine_host.front_end import engine_on_router
    from reconfigure_daemon.engine_host.host import VllmHost

    folder = Path(tempfile.mkdtemp(prefix="reconfigure-gpu-"))
    settings = settings_for_model(write_random_model(folder / "model"))
    host = VllmHost(settings, folder, settings.engine.model, vllm_names.check_names())
    configuration = settings.configuration_space().default()
    begun_s = time.monotonic()
    core = await host.boot_first(configuration)
    console.print(f"first boot {time.monotonic() - begun_s:.1f} s")
    line = vllm_arguments.command_line(settings, configuration, settings.engine.model)
    engine = engine_on_router(host, core, vllm_arguments.parse(line))
    host.begin_serving()
    gc.collect()
    gc.freeze()  # as vLLM's app does when it starts: a full collection would stop all streams meanwhile
    return Laboratory(host, engine, console)


def settings_for(model: Path) -> Settings:
    """Room for two cores on the card, and the block size as the knob that needs a new one."""
    return settings_of(model, 40 * 2**30, {"block_size": {"values": [16, 32]}})


def settings_of(model: Path, kv_cache_bytes: int, space: Mapping[str, Any]) -> Settings:
    """The engine of such a measurement: the cache of a core on each GPU, and knobs beside the stock maxima."""
    arguments = {"load_format": "dummy", "skip_tokenizer_init": True, "max_model_len": 4096,
                 "gpu_memory_utilization": 0.45, "kv_cache_memory_bytes": kv_cache_bytes}  # fmt: skip
    maxima = {"max_num_seqs": {"values": [256]}, "max_num_batched_tokens": {"values": [8192]}}
    engine = {"model": str(model), "arguments": arguments}
    return Settings.model_validate({"engine": engine, "space": {**maxima, **space}})


async def measure_overlapped(laboratory: Laboratory, count: int, repeats: int, findings: command.Findings) -> None:
    """Rows of one count of streams."""
    expected, again = await laboratory.streams(count), await laboratory.streams(count)
    runs = [await laboratory.streams_over(count, {"block_size": (32, 16)[repeat % 2]}) for repeat in range(repeats)]
    stalls_s = [run.report.stall_s[1] for run in runs if run.report is not None and run.report.stall_s]
    moved = sum(run.report.live_requests for run in runs if run.report is not None)
    limit_s = STALL_TARGETS_S.get(count)
    worst_s = max(stalls_s, default=None)
    name = f"{count} live streams, overlapped"
    findings.rows += [
        exactly(f"{name}: streams cut short in {repeats} switches", sum(run.cut_short() for run in runs), 0),
        exactly(f"{name}: streams with other tokens than unswitched", sum(r.differing(expected) for r in runs), 0),
        shown(f"{name}: the same between two unswitched runs", again.differing(expected)),
        exactly(f"{name}: streams moved", moved, count * repeats),
        Row(f"{name}: stall p95, worst switch", worst_s, "s") if limit_s is None
        else at_most(f"{name}: stall p95, worst switch", worst_s, limit_s, "s"),
        shown(f"{name}: stall p95, median switch", percentile(stalls_s, 0.5), "s"),
        shown(f"{name}: longest gap of a stream", max(max(run.gaps_s) for run in runs), "s"),
        shown(f"{name}: the same without a switch", max(again.gaps_s), "s"),
    ]  # fmt: skip
    findings.details[name] = [run.details() for run in (again, *runs)]


async def measure_gaps(laboratory: Laboratory, count: int, findings: command.Findings) -> None:
    """Switches and faults that streams wait out."""
    expected = await laboratory.streams(count)
    sequential = await laboratory.streams_and(
        count, lambda: laboratory.switch({"block_size": 32}, SwitchMode.SEQUENTIAL)
    )
    killed = await laboratory.streams_and(count, laboratory.kill_core)
    boot_s = (await laboratory.host.state()).deployment.boot_s
    for name, run in {"sequential switch": sequential, "kill -9 of the core": killed}.items():
        findings.rows += [
            exactly(f"{count} live streams, {name}: streams cut short", run.cut_short(), 0),
            exactly(f"{count} live streams, {name}: streams with other tokens", run.differing(expected), 0),
        ]
        findings.details[name] = run.details()
    findings.rows += [
        shown("sequential switch: longest gap of a stream", max(sequential.gaps_s), "s"),
        at_most(
            f"kill -9 of the core: longest gap (one boot of {boot_s:.1f} s + 1 s)", max(killed.gaps_s), boot_s + 1, "s"
        ),
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--streams", default="64,256", help="counts of live streams (default: 64,256)")
    parser.add_argument("--repeats", type=int, default=4, help="switches per count (default: 4)")
    return command.run("gpu.switch", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
