"""What an overlapped switch takes beside serving, by the pace that the old core keeps while the new one boots.

    python -m benchmarks.gpu.switch_energy [--pace 0.045] [--rate 2.5] [--rounds 4] [--quick]

A paced engine serves random arrivals at a low rate, with the lengths of Azure's conversations, and is switched from one
block size to the other again and again. The daemon lets its old core keep half of its pace meanwhile. Two arms beside
that show what it is worth and what more would be: the old core's pace is lifted right before the switch, or doubled, so
that the half is the whole. All arms begin and end at the same pace and take turns in an order that rotates; each switch
is held against the power of serving right before it. Latencies are those of requests that were due during switches.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks.gpu.server import engine_changes, model_folder, target_of, use_environment
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.energy_track import SETTLING_S, EnergyTrack, track_of_gpus
from benchmarks.harness.requests import Span, seen_in
from benchmarks.harness.rows import Row, at_least, at_most, exactly, interval_rows, shown
from benchmarks.harness.statistics import paired_ratio
from benchmarks.harness.streams import running_streams
from benchmarks.harness.switches import Switches
from benchmarks.harness.trace import random_arrivals
from reconfigure_daemon.load_generation.results import RequestResult
from reconfigure_daemon.ports import SwitchMode

NAME = "gpu.switch_energy"
TRACE = "azure_2023_conv.csv.gz"
TTFT_LIMIT_S, TPOT_LIMIT_S = 1.0, 0.05
ATTAINMENT = 0.99

#: What the old core's pacing interval is multiplied by before the switch, of which it keeps half while the other boots.
ARMS = {"half of the pace": 1, "no pace": 0, "the whole pace": 2}
OURS, UNPACED = "half of the pace", "no pace"

BLOCK_SIZES = (32, 16)
REQUESTS_END_S = 8.0
CALM_S = 10.0

#: More than a switch takes; what is not needed of the arrivals is not sent.
SWITCH_AT_MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One switch.

    Attributes:
        round: of the measurement.
        arm: a name in `ARMS`.
        serving_w: power in the calm before it.
        from_s, to_s: its ends, seconds since the first arrival.
        joules: in between, serving included.
    """

    round: int
    arm: str
    serving_w: float
    from_s: float
    to_s: float
    joules: float

    @property
    def duration_s(self) -> float:
        """From the request until it is over."""
        return self.to_s - self.from_s

    @property
    def beyond_serving_j(self) -> float:
        """What it took more than serving on would have taken for as long."""
        return self.joules - self.serving_w * self.duration_s


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """All arms in every round, under one stream of arrivals."""
    use_environment()
    model = model_folder(arguments.engine, Path(tempfile.mkdtemp(prefix="reconfigure-gpu-")))
    paces_s = sorted({0.0, *(arguments.pace * times for times in ARMS.values())})
    sections = {"governor": {"enabled": False}, "switch": {"mode": SwitchMode.OVERLAPPED.value}}
    rounds = 1 if arguments.quick else arguments.rounds
    length_s = (rounds * len(ARMS) + 1) * (REQUESTS_END_S + CALM_S + SWITCH_AT_MOST_S)
    requests = [*random_arrivals(TRACE, arguments.rate, length_s, arguments.seed)]
    made: list[Measured] = []
    switches = Switches()
    async with Daemon(arguments.engine, model, engine_changes(paces_s, sections=sections)) as daemon:
        await daemon.intend({"kind": "pause"})
        await daemon.move_to({"pacing_interval_s": arguments.pace})
        target = target_of(arguments.engine, daemon.engine_url, arguments.seed)
        with track_of_gpus() as energy:
            async with running_streams(requests, target) as streams:
                for number in range(-1, rounds):
                    for arm in order_of(number):
                        one = await one_switch(daemon, switches, energy, arguments, number, arm, streams.origin_s)
                        console.print(f"  {number} {arm}: {one.beyond_serving_j:.0f} J beyond {one.serving_w:.0f} W")
                        console.print(f"    {switches.made[-1]}")
                        made += [one] if number >= 0 else []
            source = energy.source
    seen = {arm: [seen_during(streams.results, one) for one in made if one.arm == arm] for arm in ARMS}
    details = {
        "switches": [{**asdict(one), "beyond_serving_j": one.beyond_serving_j} for one in made],
        "reports": switches.made[-len(made) :],
        "seen": {arm: [asdict(span) for span in spans] for arm, spans in seen.items()},
    }
    notes = [
        f"Energy: NVML, {source}, all GPUs of the machine. {arguments.rate:g} requests/s at a pace of "
        f"{1000 * arguments.pace:g} ms; a switch's joules are those beyond the power right before it.",
    ]
    return command.Findings(rows_of(made, seen, switches.not_applied), notes, details)


def order_of(number: int) -> list[str]:
    """The arms of a round; the one before the first only warms up what the other block size compiles."""
    arms = list(ARMS)
    return [OURS] if number < 0 else arms[number % len(arms) :] + arms[: number % len(arms)]


async def one_switch(
    daemon: Daemon,
    switches: Switches,
    energy: EnergyTrack,
    arguments: argparse.Namespace,
    number: int,
    arm: str,
    origin_s: float,
) -> Measured:
    """Let requests of the switch before end, measure serving, then switch."""
    await asyncio.sleep(REQUESTS_END_S)
    calm_s = time.monotonic()
    await asyncio.sleep(CALM_S)
    from_s = time.monotonic()
    if ARMS[arm] != 1:
        await daemon.move_to({"pacing_interval_s": arguments.pace * ARMS[arm]})
    block_size = BLOCK_SIZES[len(switches.made) % 2]
    await switches.make(daemon, {"block_size": block_size, "pacing_interval_s": arguments.pace})
    to_s = time.monotonic()
    await asyncio.sleep(SETTLING_S)
    return Measured(
        round=number,
        arm=arm,
        serving_w=energy.joules_between(calm_s, from_s) / (from_s - calm_s),
        from_s=from_s - origin_s,
        to_s=to_s - origin_s,
        joules=energy.joules_between(from_s, to_s),
    )


def seen_during(results: Sequence[RequestResult], one: Measured) -> Span:
    """Of the requests that were due in a switch."""
    return seen_in(results, one.from_s, one.to_s, TTFT_LIMIT_S, TPOT_LIMIT_S)


def rows_of(made: Sequence[Measured], seen: dict[str, list[Span]], not_applied: Sequence[str]) -> list[Row]:
    """Each arm, and the daemon's own against none."""
    rows: list[Row] = [exactly("switches not applied", len(not_applied), 0)]
    by_arm = {arm: [one for one in made if one.arm == arm] for arm in ARMS}  # each in the order of the rounds
    for arm, of_arm in by_arm.items():
        counted = sum(span.requests for span in seen[arm])
        attainment = sum(span.good for span in seen[arm]) / max(counted, 1)
        words = f"{arm}: SLO attainment of {counted} requests that came during switches"
        rows += [
            shown(
                f"{arm}: joules of a switch beyond serving, median", median(one.beyond_serving_j for one in of_arm), "J"
            ),
            shown(f"{arm}: duration, median", median(one.duration_s for one in of_arm), "s"),
            shown(f"{arm}: power, median", median(one.joules / one.duration_s for one in of_arm), "W"),
            at_least(words, attainment, ATTAINMENT) if arm == OURS else shown(words, attainment),
            shown(f"{arm}: their TPOT p99, worst switch", max(s.tpot_p99_s or 0 for s in seen[arm]), "s"),
            shown(f"{arm}: their TTFT p99, worst switch", max(s.ttft_p99_s or 0 for s in seen[arm]), "s"),
        ]
    rows.append(shown("power of serving before, median", median(one.serving_w for one in made), "W"))
    joules = {arm: [one.joules for one in of_arm] for arm, of_arm in by_arm.items()}
    for arm in ARMS:
        if arm != UNPACED:
            ratio = paired_ratio(joules[arm], joules[UNPACED])
            what = f"joules of a switch, serving included, {arm} / {UNPACED}, median of {ratio.pairs} pairs"
            rows += [at_most(what, ratio.median, 1.0) if arm == OURS else shown(what, ratio.median)]
            rows += interval_rows(ratio, arm)
    failed = sum(span.failed for spans in seen.values() for span in spans)
    return [*rows, exactly("requests failed that came during switches", failed, 0)]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--pace", type=float, default=0.045, help="pacing interval, seconds (default: 0.045)")
    parser.add_argument("--rate", type=float, default=2.5, help="requests/s (default: 2.5)")
    parser.add_argument("--rounds", type=int, default=4, help="switches per arm (default: 4)")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and prompts (default: 1)")
    return command.run(NAME, parser, measure)


if __name__ == "__main__":
    sys.exit(main())
