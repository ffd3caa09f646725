"""The trials that the project starts from: vLLM on four L4 GPUs, measured by an earlier study.

They are read from beside the project, where a README tells of them, and never shipped. Their markers of infeasibility
are labels here, not values.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from benchmarks.harness.machine import PROJECT
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, Tier
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.surrogate import Canonical, Measured, Quantity, Trial

#: Set it to a folder of trials that is elsewhere.
VARIABLE = "RECONFIGURE_SEED_DATA"

#: A thousand questions of OpenOrca, a hundred of them at once, answered at temperature 0.8.
CONTEXT = WorkloadContext(arrival_rate_rps=100.0, prompt_tokens=300.0, output_tokens=67.0)

#: Chunked prefill was on in every run whatever was asked; bfloat16 is the model's own type; of a hundred requests at
#: once no more than a hundred run.
CANONICAL = Canonical(
    without_effect=frozenset({"enable_chunked_prefill"}),
    aliases={"dtype": {"auto": "bfloat16"}},
    caps={"max_num_seqs": 100},
)

GPUS, ATTENTION_HEADS = 4, 32
DTYPES = ("auto", "float16", "bfloat16")

_COLD = Tier.COLD

#: The study's discrete choices: 2,916 configurations.
SPACE = ConfigurationSpace(
    (
        Knob("block_size", _COLD, (32, 64, 128), 32),
        Knob("max_num_seqs", _COLD, (64, 128, 256), 256),
        Knob("max_num_batched_tokens", _COLD, (4096, 8192, 12288), 8192),
        Knob("tensor_parallel_size", _COLD, (1, 2, 4), 1),
        Knob("pipeline_parallel_size", _COLD, (1, 2, 4), 1),
        Knob("enable_chunked_prefill", _COLD, (False, True), True),
        Knob("enable_prefix_caching", _COLD, (False, True), True),
        Knob("dtype", _COLD, DTYPES, "auto"),
    )
)


def seed_trials(arm: str) -> list[Trial]:
    """Forty trials of one arm in the order in which they were made, what could not run as a label.

    Raises:
        RequestInvalid: if the file is not there, with where it is looked for.
    """
    folder = Path(os.environ.get(VARIABLE) or PROJECT.parent / "shared" / "seed-data")
    path = folder / f"l4_{arm}_trials.csv"
    if not path.is_file():
        raise RequestInvalid(f"there is no {path}; put the trials there, or name their folder with {VARIABLE}")
    with path.open(newline="", encoding="utf-8") as file:
        return [_trial(row, arm) for row in csv.DictReader(file)]


def is_allowed(configuration: Configuration) -> bool:
    """What is known before any trial: the machine has four GPUs, and tensor parallelism divides the attention heads."""
    tensor, pipeline = float(configuration["tensor_parallel_size"]), float(configuration["pipeline_parallel_size"])
    return tensor * pipeline <= GPUS and ATTENTION_HEADS % tensor == 0


def enumeration() -> list[Configuration]:
    """Every configuration of the discrete space, allowed or not."""
    names = [knob.name for knob in SPACE.knobs]
    return [
        Configuration(zip(names, values, strict=True)) for values in product(*(knob.values for knob in SPACE.knobs))
    ]


def _trial(row: Mapping[str, str], arm: str) -> Trial:
    throughput_tps, energy_j = float(row["throughput(token/s)"]), float(row["energy(J/token)"])
    configuration = Configuration(_discrete(row) if arm == "discrete" else _rounded(row))
    at = float(row["trial_index"])
    if throughput_tps <= 0:
        return Trial(configuration, CONTEXT, at, feasible=False, reason="did not run")
    measured = {Quantity.THROUGHPUT: Measured(throughput_tps), Quantity.ENERGY: Measured(energy_j)}
    return Trial(configuration, CONTEXT, at, measured)


def _discrete(row: Mapping[str, str]) -> Iterator[tuple[str, bool | int | str]]:
    for knob in SPACE.knobs:
        text = row[knob.name]
        yield knob.name, text == "True" if text in ("True", "False") else int(text) if text.isdigit() else text


def _rounded(row: Mapping[str, str]) -> Iterator[tuple[str, bool | int | str]]:
    """The configuration that was measured for a point of the ranges."""
    for knob in SPACE.knobs:
        if knob.name == "dtype":
            yield "dtype", DTYPES[min(max(round(float(row["dtype_idx"])), 0), 2)]
        elif knob.name == "block_size":
            yield "block_size", 16 * round(float(row["block_size"]) / 16)
        elif isinstance(knob.default, bool):
            yield knob.name, float(row[knob.name]) >= 0.5
        else:
            yield knob.name, round(float(row[knob.name]))
