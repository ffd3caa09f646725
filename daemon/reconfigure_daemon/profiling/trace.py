"""A chrome trace of torch's profiler as plain spans of time."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Categories of what a device does, and of what a processor does for the model.
_ON_DEVICE = {"kernel", "gpu_memcpy", "gpu_memset"}
_ON_CPU = {"cpu_op"}


class TraceUnreadable(ValueError):
    """A file is no chrome trace, or a trace of nothing; the message says which."""


@dataclass(frozen=True, slots=True)
class Span:
    """One kernel or operator.

    Attributes:
        name: as the profiler has it.
        start_s, end_s: seconds on the trace's own clock.
        lane: what runs one thing at a time: `(process, thread)`, or `(device, stream)`.
        on_device: whether a GPU did it.
        copies: whether it only moves or sets memory.
    """

    name: str
    start_s: float
    end_s: float
    lane: tuple[str, str]
    on_device: bool
    copies: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """What one worker did.

    Attributes:
        start_s, end_s: when the profiler was on.
        spans: what it saw, by start.
    """

    start_s: float
    end_s: float
    spans: tuple[Span, ...]


def read_trace(path: Path) -> Trace:
    """The trace of a file, gzipped or not.

    Raises:
        TraceUnreadable: if it is none.
    """
    try:
        raw = path.read_bytes()
        content = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
        return trace_of(content["traceEvents"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as fault:
        raise TraceUnreadable(f"{path} is no trace of torch's profiler ({fault})") from fault


def trace_of(events: Iterable[Mapping[str, Any]]) -> Trace:
    """The trace that a list of chrome events tells.

    Raises:
        TraceUnreadable: if nothing ran.
        KeyError, TypeError, ValueError: if an event is none.
    """
    spans, bounds = [], []
    for event in events:
        if event.get("ph") != "X":
            continue
        start_s, category = float(event["ts"]) * 1e-6, event.get("cat")
        end_s = start_s + float(event["dur"]) * 1e-6
        if category in _ON_DEVICE or category in _ON_CPU:
            lane, on_device = (str(event["pid"]), str(event["tid"])), category in _ON_DEVICE
            copies = on_device and category != "kernel"
            spans.append(Span(str(event["name"]), start_s, end_s, lane, on_device, copies))
        elif category == "Trace":  # the profiler's own span, from its start to its stop
            bounds += [start_s, end_s]
    if not spans:
        raise TraceUnreadable("it holds no kernel and no operator: nothing ran while it was recorded")
    spans.sort(key=lambda span: (span.start_s, -span.end_s))
    everything = [*bounds, spans[0].start_s, max(span.end_s for span in spans)]
    return Trace(min(everything), max(everything), tuple(spans))
