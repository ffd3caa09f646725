"""Which configurations are measured to judge surrogates, under which load: fixed before anything was measured."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Prompts long enough that a step with one keeps the GPU, not the host, busy.
PROMPT_TOKENS, OUTPUT_TOKENS = 512, 64

#: The knob that needs a new core, and its values in the order in which they are booted. Not `enforce_eager`: without
#: graphs a step of this model waits for the host's processors, whose speed is no property of a configuration.
COLD_KNOB: dict[str, Sequence[Any]] = {"quantization": ("none", "fp8")}
HOT_KNOBS: dict[str, Sequence[Any]] = {
    "max_num_seqs": (16, 32, 64, 128, 256),
    "max_num_batched_tokens": (512, 1024, 2048, 4096, 8192),
    "pacing_interval_s": (0.0, 0.01, 0.015, 0.02, 0.03),
}
#: Knobs of the shipped space that no design varies.
PINNED: dict[str, Sequence[Any]] = {
    "long_prefill_token_threshold": (0,), "prefix_cache_reading": (True,), "block_size": (16,)
}  # fmt: skip
#: What a design varies. Not 128 places and more, which take longer to fill with prompts than to measure; nor a budget
#: of 512 tokens, up to which vLLM runs steps with prompts as graphs: docs/decisions/0014.
VARIED: dict[str, Sequence[Any]] = {
    **HOT_KNOBS, "max_num_seqs": (8, 16, 32, 64), "max_num_batched_tokens": (1024, 2048, 4096, 8192)
}  # fmt: skip
#: The space that it is measured in, whose largest values the cores boot with.
MEASURED_IN: dict[str, Sequence[Any]] = {**HOT_KNOBS, "max_num_seqs": (8, *HOT_KNOBS["max_num_seqs"])}

#: Close to vLLM's own defaults.
WIDEST: dict[str, Any] = {"max_num_seqs": 256, "max_num_batched_tokens": 8192, "pacing_interval_s": 0.0}

#: Not so low that a window holds fewer than ten requests.
LOWEST_RATE_RPS, HIGHEST_RATE_RPS = 2.8, 12.0

#: Arrivals a second that each place in the batch carries for sure: past its capacity an engine has no steady state.
CARRIED_RPS_PER_SEQUENCE = 0.35

SEED = 20261124
HELD_OUT, HELD_OUT_ROUNDS = 12, 3
TRAINING, REPEATED = 18, 3


@dataclass(frozen=True)
class Trial:
    """One configuration under one load.

    Attributes:
        name: unique within its session, e.g. `eager-07`.
        round: 0 for the first time that it is measured.
        cold, hot: values by knob.
        arrival_rate_rps: of the load under which its joules are counted.
    """

    name: str
    round: int
    cold: dict[str, Any]
    hot: dict[str, Any]
    arrival_rate_rps: float

    @property
    def key(self) -> str:
        """What a resumed session goes by."""
        return f"{self.name}/{self.round}"


def settings_of(
    cold_knob: Mapping[str, Sequence[Any]], start: Mapping[str, Any], hot: Mapping[str, Sequence[Any]] = HOT_KNOBS
) -> dict[str, Any]:
    """Sections of the settings: the design's knobs as the space, and every objective at the same start.

    Args:
        cold_knob: the one that needs a new core.
        start: its values; a knob that it leaves out has its first.
        hot: the hot knobs.
    """
    knobs = {name: list(values) for name, values in {**PINNED, **hot, **cold_knob}.items()}
    default = {name: values[0] for name, values in knobs.items()} | dict(start)
    return {
        "space": {name: {"values": values, "default": default[name]} for name, values in knobs.items()},
        "objectives": dict.fromkeys(("energy", "throughput", "balanced"), default),
    }


def design(session: str, cold_knob: dict[str, Sequence[Any]] | None = None) -> list[Trial]:
    """All trials of a session, in order: grouped by core, so that each core boots once.

    `training` has 18 configurations per core, 3 of them twice, for the noise. `held_out` has 12 others per core, none
    with the same knobs as any of training, in three interleaved rounds. Both are Latin hypercubes: each takes every
    value of every knob equally often, or once more or less where the numbers do not divide.

    Raises:
        ValueError: for any other session.
    """
    if session not in ("training", "held_out"):
        raise ValueError(f"found session {session!r}; it is training or held_out")
    (name, values), = (cold_knob or COLD_KNOB).items()  # fmt: skip
    trials: list[Trial] = []
    for number, value in enumerate(values):
        draws = random.Random(SEED + number)
        held_out = _hypercube(HELD_OUT, draws, taken=())
        training = _hypercube(TRAINING, draws, taken=[_knobs(hot) for hot, _ in held_out])
        label = f"{name}={value}"
        if session == "training":
            rounds = [list(enumerate(training)), list(enumerate(training))[:: TRAINING // REPEATED][:REPEATED]]
        else:
            rounds = [list(enumerate(held_out)) for _ in range(HELD_OUT_ROUNDS)]
        for repeat, members in enumerate(rounds):
            draws.shuffle(members)
            trials += [Trial(f"{label}-{i:02d}", repeat, {name: value}, hot, rate) for i, (hot, rate) in members]
    return trials


def _hypercube(
    count: int, draws: random.Random, taken: Iterable[tuple[Any, ...]]
) -> list[tuple[dict[str, Any], float]]:
    """So many configurations, all different and none of `taken`, each with an arrival rate that it carries."""
    used = set(taken)
    columns = {knob: _spread(values, count, draws) for knob, values in VARIED.items()}
    shares = [(i + draws.random()) / count for i in range(count)]
    draws.shuffle(shares)
    chosen = []
    for row, share in enumerate(shares):
        hot = {knob: column[row] for knob, column in columns.items()}
        while _knobs(hot) in used:
            hot["max_num_batched_tokens"] = draws.choice(VARIED["max_num_batched_tokens"])
            hot["pacing_interval_s"] = draws.choice(VARIED["pacing_interval_s"])
        used.add(_knobs(hot))
        highest = min(HIGHEST_RATE_RPS, CARRIED_RPS_PER_SEQUENCE * hot["max_num_seqs"])
        chosen.append((hot, round(LOWEST_RATE_RPS * (highest / LOWEST_RATE_RPS) ** share, 3)))
    return chosen


def _spread(values: Sequence[Any], count: int, draws: random.Random) -> list[Any]:
    """Every value equally often, in random order."""
    column = [values[i * len(values) // count] for i in range(count)]
    draws.shuffle(column)
    return column


def _knobs(hot: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(hot[knob] for knob in VARIED)
