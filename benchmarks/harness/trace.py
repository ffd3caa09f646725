"""Recorded workloads for benchmarks, scaled to the machine; they are read from beside the project, never shipped."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness.machine import PROJECT
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.load_generation.plan import PlannedRequest, PlanOptions, ReplayPlan, plan_replay
from reconfigure_daemon.load_generation.trace_reader import TraceReader

#: Set it to a folder of traces that is elsewhere.
VARIABLE = "RECONFIGURE_TRACES"

#: Where in a trace random arrivals take their lengths from, and how many of them at most.
LENGTHS_START_S, MOST_LENGTHS = 600.0, 15_000


def trace_path(name: str) -> Path:
    """A trace's file.

    Raises:
        RequestInvalid: if it is not there, with where it is looked for.
    """
    folder = Path(os.environ.get(VARIABLE) or PROJECT.parent / "shared" / "traces")
    path = folder / name
    if not path.is_file():
        raise RequestInvalid(f"there is no {path}; put the trace there, or name its folder with {VARIABLE}")
    return path


def plan_of(name: str, options: PlanOptions) -> ReplayPlan:
    """The plan of a trace's replay."""
    return plan_replay(TraceReader(trace_path(name)), options)


def random_arrivals(
    name: str, most_rps: float, length_s: float, seed: int, rate_rps: Callable[[float], float] | None = None
) -> Iterator[PlannedRequest]:
    """A Poisson process; lengths are the trace's, in order.

    Args:
        name: of the trace.
        most_rps: the rate, or the highest of one that varies.
        length_s: after which nothing arrives.
        seed: of the process.
        rate_rps: by the seconds since the start, if it varies; what is above it is left out (thinning).
    """
    draws, due_s = random.Random(seed), 0.0
    count = min(int(2 * most_rps * length_s), MOST_LENGTHS)
    lengths = enumerate(plan_of(name, PlanOptions(start_s=LENGTHS_START_S, requests=count)).requests)
    while (due_s := due_s + draws.expovariate(most_rps)) < length_s:
        if rate_rps is None or draws.random() * most_rps <= rate_rps(due_s):
            index, of = next(lengths)
            yield PlannedRequest(index, due_s, of.prompt_tokens, of.output_tokens)
