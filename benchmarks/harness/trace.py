"""Recorded workloads for benchmarks, scaled to the machine; they are read from beside the project, never shipped."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.harness.machine import PROJECT
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.load_generation.plan import PlanOptions, ReplayPlan, plan_replay
from reconfigure_daemon.load_generation.trace_reader import TraceReader

#: Set it to a folder of traces that is elsewhere.
VARIABLE = "RECONFIGURE_TRACES"


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
