"""What the daemon knows of knobs before any engine runs: which are hot, and what their values may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise

from reconfigure_policies.domain.configuration import KnobValue, format_value, parse_value

#: Knobs that the daemon knows how to move inside a running core; anything else in the space is cold.
HOT_KNOBS = {
    "max_num_seqs": ("requests", "most requests that run at once (running cap)"),
    "max_num_batched_tokens": ("tokens", "most tokens of one step (token budget, chunk size of prefill)"),
    "long_prefill_token_threshold": ("tokens", "most prompt tokens of one request in one step; 0 is no limit"),
    "pacing_interval_s": ("s", "time between two steps that decode, on average; 0 is as fast as possible"),
    "prefix_cache_reading": ("", "whether new requests read the prefix cache"),
    "speculation_batch_limit": ("requests", "most running requests with which drafts are verified; 0 is never"),
}

#: Knobs of the GPUs, set through the device helper and not by the engine host; hot, too.
DEVICE_KNOBS = {
    "gpu_clock_mhz": ("MHz", "most that the GPUs' SM clock may be; 0 lets each card choose"),
    "power_cap_w": ("W", "most that each GPU may draw; 0 is the limit that was found"),
}

#: vLLM's names for how a step is put into CUDA graphs.
CUDAGRAPH_MODES = ("NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE")

_SPECULATIVE = re.compile(r"none|[a-z][a-z0-9_]*:[1-9][0-9]?(:\S+)?")

#: Least value of the hot knobs that count something.
_LEAST_COUNT = {
    "max_num_seqs": 1,
    "max_num_batched_tokens": 1,
    "long_prefill_token_threshold": 0,
    "gpu_clock_mhz": 0,
    "speculation_batch_limit": 0,
}

#: A longer pace is slower than any reader; who writes one means milliseconds.
LONGEST_PACE_S = 1.0


def value_fault(name: str, value: KnobValue) -> str | None:
    """Why a knob cannot have this value, or None. Of cold knobs only vLLM knows, so they get any plain value."""
    if isinstance(value, str) and parse_value(value) != value:
        return f"found {value!r} in quotes, which no command line can name; write {value.lower()} without quotes"
    if name in _LEAST_COUNT:
        least = _LEAST_COUNT[name]
        allowed = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if allowed else f"found {format_value(value)}; a whole number of at least {least} is allowed"
    if name == "pacing_interval_s":
        allowed = not isinstance(value, bool | str) and 0 <= value <= LONGEST_PACE_S
        return None if allowed else f"found {format_value(value)}; seconds from 0 to {LONGEST_PACE_S:g} are allowed"
    if name == "cudagraph_mode":
        allowed = value in CUDAGRAPH_MODES
        return None if allowed else f"found {format_value(value)}; allowed: {', '.join(CUDAGRAPH_MODES)}"
    if name == "speculative":
        allowed = isinstance(value, str) and _SPECULATIVE.fullmatch(value) is not None
        hint = "none, or METHOD:TOKENS such as ngram:3, or METHOD:TOKENS:MODEL"
        return None if allowed else f"found {format_value(value)}; {hint} is allowed"
    if name == "power_cap_w":
        allowed = not isinstance(value, bool | str) and value >= 0
        return None if allowed else f"found {format_value(value)}; watts from 0 are allowed, 0 for the limit found"
    if name == "prefix_cache_reading" and not isinstance(value, bool):
        return f"found {format_value(value)}; only true and false are allowed"
    return None


def values_faults(name: str, values: Sequence[KnobValue]) -> list[tuple[int, str]]:
    """`(index, fault)` for each value that cannot be, repeats an earlier one, or is of another kind than the first.

    Numbers that are sound otherwise have to go from least to most.
    """
    faults: list[tuple[int, str]] = []
    for index, value in enumerate(values):
        fault = value_fault(name, value)
        if fault is None and _kind(value) != _kind(values[0]):
            fault = (
                f"found {format_value(value)} beside {format_value(values[0])}; the values of one knob are all numbers,"
                " all texts or all true/false"
            )
        elif fault is None and value in values[:index]:
            fault = f"found {format_value(value)} twice; keep one of the two"
        if fault is not None:
            faults.append((index, fault))
    return faults or _out_of_order(values)


def _out_of_order(values: Sequence[KnobValue]) -> list[tuple[int, str]]:
    """The first number that is less than the one before it; texts and true/false have no order."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    for index, (before, value) in enumerate(pairwise(numbers), start=1):
        if value < before:
            ordered = ", ".join(map(format_value, sorted(numbers)))
            return [
                (index, f"found {format_value(value)} after {format_value(before)}; values go from least to most, so"
                 f" write [{ordered}]")
            ]  # fmt: skip
    return []


def misspelt_hot_knob(name: str) -> str | None:
    """The hot knob that a name almost spells, or None; as a cold knob it would only fail vLLM's start."""
    known = [*HOT_KNOBS, *DEVICE_KNOBS]
    if name in known:
        return None
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.88)), None)


def _kind(value: KnobValue) -> str:
    return "switch" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
