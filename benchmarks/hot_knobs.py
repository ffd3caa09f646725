"""From asking for a hot knob to having it enforced and read back, with and without traffic.

    python -m benchmarks.hot_knobs [--quick]

The time is the client's own, around `POST /v1/knobs` on the engine host's private socket: the answer comes once the
value was read back from the running core's scheduler, whose next step obeys it. The step under way was planned before
and ends as planned, so the time of steps stands beside each figure; `max_num_batched_tokens` bounds it while prompts
arrive, and several budgets are measured. What `reconfigure apply` takes for the same, with its decision stored before
and its outcome after, is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon, applied
from benchmarks.harness.rows import Row, at_most, exactly, shown
from benchmarks.harness.statistics import percentile
from benchmarks.harness.streams import equal_requests, failures, running_streams
from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.private_socket import socket_path

LIMIT_S = 0.05
SEED = 7

#: Streams that only decode, and prompts that arrive beside them.
STREAMS, PROMPT_TOKENS, OUTPUT_TOKENS = 4, 32, 1900
ARRIVING_PROMPT_TOKENS, ARRIVING_OUTPUT_TOKENS, SPACING_S = 256, 4, 1.0

#: Token budgets under which prompts arrive, from the shipped largest down.
BUDGETS = (2048, 256, 64, 32, 16)

#: What is changed. No cap is below the number of streams, since a cap only drains down to what runs.
VALUES: dict[str, tuple[Any, ...]] = {
    "max_num_seqs": (8, 16),
    "long_prefill_token_threshold": (0, 128, 256, 512),
    "pacing_interval_s": (0, 0.01),
    "prefix_cache_reading": (True, False),
}

#: Beside the shipped budgets some that are small enough for short steps on a small machine.
SPACE = {"max_num_batched_tokens": {"values": [16, 32, 64, 256, 512, 1024, 2048]}}

Change = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass(slots=True)
class Changes:
    """What changes took under one load.

    Attributes:
        when: the load, in words.
        latency_s: the client's time of each change.
        host_latency_s: the engine host's own time of each, within the client's.
        step_s: time between two outputs of the streams meanwhile; empty without streams.
        not_enforced: changes that were read back with another value.
        bad: streams that ended badly.
    """

    when: str
    latency_s: list[float] = field(default_factory=list)
    host_latency_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)
    not_enforced: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    @property
    def p99_s(self) -> float | None:
        """What 99 of 100 changes stayed below."""
        return percentile(self.latency_s, 0.99)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """The same changes at rest, beside streams that decode, and while prompts arrive."""
    count = 20 if arguments.quick else arguments.changes
    draws = random.Random(SEED)
    async with Daemon(arguments.engine, arguments.model, {"space": SPACE}) as daemon:
        host = PrivateSocketClient(socket_path(daemon.runtime))
        await change_knobs(host, Changes("warm-up"), 2 * len(VALUES), draws)
        at_rest = await change_knobs(host, Changes("at rest"), count, draws)
        console.print(in_words(at_rest))
        decoding = await beside(daemon, host, f"beside {STREAMS} streams that decode", decoding_streams(), count, draws)
        console.print(in_words(decoding))
        arriving = {}
        for budget in BUDGETS:
            await host.set_knobs({"max_num_batched_tokens": budget})
            when = f"while prompts arrive, token budget {budget}"
            arriving[budget] = await beside(daemon, host, when, [*decoding_streams(), *arrivals(count)], count, draws)
            console.print(in_words(arriving[budget]))
        await host.set_knobs({"max_num_batched_tokens": max(BUDGETS)})
        through_daemon = await apply_beside_streams(daemon, count, draws)
        await host.close()
    everything = [at_rest, decoding, *arriving.values()]
    return command.Findings(
        rows=[
            *target_rows(at_rest),
            *target_rows(decoding),
            *(row for budget in BUDGETS for row in shown_rows(arriving[budget])),
            shown("largest token budget with p99 within 50 ms while prompts arrive", largest_budget(arriving)),
            shown("through `reconfigure apply`, beside streams that decode: p50", percentile(through_daemon, 0.5), "s"),
            exactly("changes not enforced as asked", sum(len(changes.not_enforced) for changes in everything), 0),
            exactly("streams lost, broken or truncated", sum(len(changes.bad) for changes in everything), 0),
        ],
        notes=[
            f"{count} changes under each load. Steps: time between outputs of the streams, as their clients saw them.",
            f"Prompts that arrive: {ARRIVING_PROMPT_TOKENS} tokens, one each {SPACING_S:g} s, beside the streams.",
        ],
        details={"loads": [asdict(changes) for changes in everything], "through_daemon_s": through_daemon},
    )


def decoding_streams() -> list[PlannedRequest]:
    """Streams that outlast the measurement."""
    return equal_requests(STREAMS, PROMPT_TOKENS, OUTPUT_TOKENS)


def arrivals(count: int) -> list[PlannedRequest]:
    """Prompts one after the other, for as long as so many changes may take."""
    requests = equal_requests(count, ARRIVING_PROMPT_TOKENS, ARRIVING_OUTPUT_TOKENS, SPACING_S)
    return [PlannedRequest(STREAMS + r.index, 1 + r.due_s, r.prompt_tokens, r.output_tokens) for r in requests]


async def beside(
    daemon: Daemon, host: PrivateSocketClient, when: str, load: list[PlannedRequest], count: int, draws: random.Random
) -> Changes:
    """Change knobs beside a load, which is closed once there are enough changes."""
    changes = Changes(when)
    async with running_streams(load, await daemon.target(seed=draws.randrange(1 << 30))) as streams:
        await daemon.live(STREAMS)
        await asyncio.sleep(1.5)  # every stream decodes, and arrivals have begun
        await change_knobs(host, changes, count, draws)
    changes.step_s = [gap_s for r in streams.results if r.request.index < STREAMS for gap_s in r.gaps_s]
    changes.bad = failures(streams.results)
    return changes


async def change_knobs(host: PrivateSocketClient, changes: Changes, count: int, draws: random.Random) -> Changes:
    """Give one knob after the other another of its values."""
    values = {name: allowed[0] for name, allowed in VALUES.items()}
    for _ in range(count):
        name = draws.choice(sorted(VALUES))
        values[name] = draws.choice([value for value in VALUES[name] if value != values[name]])
        began_s = time.monotonic()
        result = await host.set_knobs({name: values[name]})
        changes.latency_s.append(time.monotonic() - began_s)
        changes.host_latency_s.append(result.latency_s)
        if result.enforced[name] != values[name]:
            changes.not_enforced.append(f"{name}: asked {values[name]}, found {result.enforced[name]}")
        await asyncio.sleep(draws.uniform(0, 0.1))  # not in step with the engine's own steps
    await host.set_knobs({name: allowed[0] for name, allowed in VALUES.items()})
    return changes


async def apply_beside_streams(daemon: Daemon, count: int, draws: random.Random) -> list[float]:
    """What the same takes through the control API, seconds."""
    latency_s = []
    async with running_streams(decoding_streams(), await daemon.target(seed=1)):
        await daemon.live(STREAMS)
        for number in range(count // 5):
            began_s = time.monotonic()
            result = await daemon.apply({"max_num_seqs": VALUES["max_num_seqs"][number % 2]})
            if applied(result):
                latency_s.append(time.monotonic() - began_s)
            await asyncio.sleep(draws.uniform(0, 0.1))
    return latency_s


def target_rows(changes: Changes) -> list[Row]:
    """A load that the target is held against."""
    what = f"hot knob {changes.when}: request to enforced"
    return [
        at_most(f"{what}, p99", changes.p99_s, LIMIT_S, "s"),
        shown(f"{what}, p50", percentile(changes.latency_s, 0.5), "s"),
        *step_rows(changes),
    ]


def shown_rows(changes: Changes) -> list[Row]:
    """A load that shows where the target ends."""
    return [shown(f"hot knob {changes.when}: request to enforced, p99", changes.p99_s, "s"), *step_rows(changes)]


def step_rows(changes: Changes) -> Iterable[Row]:
    """How long the steps were that a change had to wait for."""
    return [shown(f"steps {changes.when}, p99", percentile(changes.step_s, 0.99), "s")] if changes.step_s else []


def largest_budget(arriving: Mapping[int, Changes]) -> int | None:
    """The largest budget under which changes are quick; None if it is none of them."""
    quick = [budget for budget, changes in arriving.items() if (changes.p99_s or LIMIT_S + 1) <= LIMIT_S]
    return max(quick, default=None)


def in_words(changes: Changes) -> str:
    """A line of progress."""
    p50_s, p99_s = percentile(changes.latency_s, 0.5) or 0, changes.p99_s or 0
    return f"{changes.when}: p50 {1000 * p50_s:.1f} ms, p99 {1000 * p99_s:.1f} ms"


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--changes", type=int, default=200, help="changes under each load (default: 200)")
    return command.run("hot_knobs", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
