"""Streams that live through overlapped switches, and how long each stood still at the cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import Row, at_most, exactly, shown
from benchmarks.harness.statistics import percentile
from benchmarks.harness.streams import equal_requests, failures, longest_gap_within_s, running_streams

#: Streams long enough to outlive the boot of a core; they are closed once their switch is over.
STREAMS, PROMPT_TOKENS, STREAM_TOKENS = 8, 64, 1900


@dataclass(slots=True)
class Cuts:
    """What streams felt of their cuts.

    Attributes:
        stalls_s: per stream and cut, the longest time without output that touches the cut.
        host_stalls_s: per cut, the median, p95 and longest stall as the engine host saw them.
        bad: streams that did not live through it, and switches that were not made, in words.
    """

    stalls_s: list[float] = field(default_factory=list)
    host_stalls_s: list[list[float]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


async def streams_through_cuts(daemon: Daemon, changes: Sequence[Mapping[str, Any]], console: Console) -> Cuts:
    """Have fresh streams live through each of these cold changes."""
    cuts = Cuts()
    for number, change in enumerate(changes):
        found = await one_cut(daemon, change, number, cuts)
        longest = f"longest stall {1000 * max(found):.0f} ms" if found else "no stream lived through it"
        console.print(f"cut {number + 1} of {len(changes)}: {longest}")
    return cuts


async def one_cut(daemon: Daemon, change: Mapping[str, Any], seed: int, cuts: Cuts) -> list[float]:
    """Stalls of the streams that lived through one change."""
    requests = equal_requests(STREAMS, PROMPT_TOKENS, STREAM_TOKENS)
    async with running_streams(requests, await daemon.target(seed=seed)) as streams:
        await daemon.live(STREAMS)
        await asyncio.sleep(1)  # every stream flows
        from_s, to_s = await cut_span(daemon, change, cuts)
        await asyncio.sleep(1)  # every stream flows again
    gaps = [
        longest_gap_within_s(result, from_s - streams.origin_s, to_s - streams.origin_s) for result in streams.results
    ]
    found = [gap_s for gap_s in gaps if gap_s is not None]
    cuts.stalls_s += found
    cuts.bad += failures(streams.results)
    cuts.bad += [f"stream {index} had ended before the cut" for index, gap_s in enumerate(gaps) if gap_s is None]
    return found


async def cut_span(daemon: Daemon, change: Mapping[str, Any], cuts: Cuts) -> tuple[float, float]:
    """Switch, and tell when the cut was announced and when the old core was left, by the monotonic clock."""
    seen_s: dict[str, float] = {}

    def note(progress: dict[str, Any]) -> None:
        seen_s.setdefault(progress["phase"], time.monotonic())

    began_s = time.monotonic()
    result = await daemon.apply(change, note)
    ended_s = time.monotonic()
    outcome = result.decision.outcome if result.decision is not None else None
    if outcome is None or outcome.kind != "applied":
        cuts.bad.append(f"{dict(change)} was not applied: {outcome and outcome.detail}")
    measured = outcome.measurements if outcome is not None else {}
    cuts.host_stalls_s.append([measured.get(f"stall_{which}_s", 0.0) for which in ("p50", "p95", "max")])
    return seen_s.get("move", began_s), seen_s.get("retire", ended_s)


def cut_rows(cuts: Cuts) -> list[Row]:
    """How long streams stood still at a cut, as their clients saw it and as the engine host did."""
    what = f"cut-over stall, overlapped, {STREAMS} live streams"
    host = f"{what}, last output of the old core to first of the new"
    return [
        at_most(f"{what}, p95", percentile(cuts.stalls_s, 0.95), 0.3, "s"),
        shown(f"{what}, p50", percentile(cuts.stalls_s, 0.5), "s"),
        shown(f"{what}, longest", max(cuts.stalls_s, default=None), "s"),
        shown(f"{host}: p50, median switch", percentile((p50 for p50, _, _ in cuts.host_stalls_s), 0.5), "s"),
        shown(f"{host}: p95, worst switch", max((p95 for _, p95, _ in cuts.host_stalls_s), default=None), "s"),
        exactly("streams that did not live through their cut", len(cuts.bad), 0),
    ]
