"""How well the step-cost model predicts windows that it has not seen, from a recording of a real engine.

    python -m benchmarks.gpu.step_cost --recordings FILE.jsonl.gz ... [--window 20]

A recording comes from `benchmarks.gpu.pacing --recording` or `benchmarks.gpu.trace --recording`. The model learns
second by second, as the governor's does; before each window of unchanged knobs it is stopped, predicts the window's
TPOT, TTFT and joules per token from the window's arrivals, and is compared with what the engine then did. TTFT is
that of the requests that arrived in the window, whenever they ended: those that had ended by its end were the short
ones. No GPU is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console

from benchmarks.gpu.recording import origin_of, samples_of
from benchmarks.harness import command
from benchmarks.harness.rows import Row, at_most, shown
from reconfigure_policies.decision.governor import EngineSample
from reconfigure_policies.domain.workload import RequestRecord
from reconfigure_policies.step_cost import Setting, SteadyState, StepCostModel, Workload, steady_state
from reconfigure_policies.step_cost.step_energy import EnergyUse

TARGETS = {"TPOT": 0.05, "energy": 0.05, "TTFT": 0.15}

#: A window counts when the knobs have not changed for this long before it, in mean lives of a request.
SETTLED_LIVES = 1.5
LEAST_SETTLED_S = 5.0
LEAST_REQUESTS = 20

Second = tuple[Mapping[str, Any], EngineSample]


#: What a window's power is for by the energy model: the fields of `EnergyUse` that each part has.
PARTS = {
    "every second, idle or not": ("duration_s",),
    "prompts": ("prefill_tokens", "back_to_back_prefill_tokens"),
    "output tokens and their attention": ("decode_tokens", "kv_tokens"),
    "steps, whose number a pace changes": ("steps", "back_to_back_steps"),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Predicted and measured, of one window; and its power, W, by what it is for."""

    knobs: Mapping[str, Any]
    tpot_s: tuple[float, float]
    ttft_s: tuple[float, float]
    energy_per_output_token_j: tuple[float, float]
    power_w: Mapping[str, float]


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Compare every window of every recording."""
    origins = [origin_of(path) for path in arguments.recordings]
    compared: list[Comparison] = []
    for path in arguments.recordings:
        of_one = list(comparisons(list(samples_of(path)), arguments.window))
        console.print(f"  {path.name}: {len(of_one)} settled windows")
        compared += of_one
    pairs = {
        "TPOT": [c.tpot_s for c in compared],
        "energy": [c.energy_per_output_token_j for c in compared],
        "TTFT": [c.ttft_s for c in compared],
    }
    rows: list[Row] = [shown("windows", len(compared))]
    for what, values in pairs.items():
        rows.append(at_most(f"{what}: mean absolute error of unseen windows", error_of(values), TARGETS[what]))
    rows += budget_rows(compared)
    return command.Findings(rows, [], {"windows": [asdict(c) for c in compared]}, origins)


def budget_rows(compared: Sequence[Comparison]) -> list[Row]:
    """The power of paced windows by what it is for: no pace changes anything but the number of steps."""
    paced = [c.power_w for c in compared if c.knobs["pacing_interval_s"] > 0]
    return [
        shown(f"power in {len(paced)} paced windows, by the model, for {part}", mean(w[part] for w in paced), "W")
        for part in PARTS
        if paced
    ]


def comparisons(seconds: Sequence[Second], window_s: float) -> Iterator[Comparison]:
    """Learn up to each settled window, predict it, then learn it as well."""
    model, learned = StepCostModel(), 0
    overhead_known = False
    answered = [record for _, sample in seconds for record in sample.records if record.ttft_s is not None]
    for first, last in settled(seconds, window_s):
        for _, sample in seconds[learned:first]:
            model = _learned(model, sample)
        learned = first
        window = [sample for _, sample in seconds[first:last]]
        workload = workload_of(window)
        if not model.is_learned or workload is None:
            continue
        knobs = seconds[first][0]
        state = steady_state(model, workload, setting_of(knobs))
        began_s, ended_s = window[0].ended_s - window[0].duration_s, window[-1].ended_s
        compared = _compare(
            knobs, state, window, power_of(model, window), [r for r in answered if began_s <= r.arrived_s < ended_s]
        )
        if compared is None:
            continue
        if overhead_known and isfinite(state.tpot_s) and model.energy.is_learned:
            yield compared
        ended_ttft_s = [r.ttft_s for sample in window for r in sample.records if r.ttft_s is not None]
        model = model.with_ttft(median(ended_ttft_s), state.ttft_s, 0.5 if overhead_known else 1.0)
        overhead_known = True


def settled(seconds: Sequence[Second], window_s: float) -> Iterator[tuple[int, int]]:
    """Windows, as ranges of `seconds`, in which requests of earlier knobs have ended."""
    first, since_s = 0, 0.0
    while first < len(seconds):
        knobs = seconds[first][0]
        if first and knobs != seconds[first - 1][0]:
            since_s = 0.0
        wait_s = max(
            LEAST_SETTLED_S, SETTLED_LIVES * _life_s([sample for _, sample in seconds[max(0, first - 30) : first]])
        )
        last, length_s = first, 0.0
        while last < len(seconds) and length_s < window_s and seconds[last][0] == knobs:
            length_s += seconds[last][1].duration_s
            last += 1
        if since_s >= wait_s and length_s >= window_s:
            yield first, last
            since_s += length_s
            first = last
        else:
            since_s += seconds[first][1].duration_s
            first += 1


def workload_of(window: Sequence[EngineSample]) -> Workload | None:
    """What arrived in it; None of too little."""
    arrivals, ended = sum(s.arrivals for s in window), [r for s in window for r in s.records if r.output_tokens > 0]
    if arrivals < LEAST_REQUESTS or len(ended) < LEAST_REQUESTS:
        return None
    context = sum(s.prompt_tokens for s in window) / arrivals
    cached = sum(s.cached_prompt_tokens for s in window) / arrivals
    tail = sorted(r.prompt_tokens for r in ended)[int(0.99 * (len(ended) - 1))]
    rate_rps = arrivals / sum(s.duration_s for s in window)
    output = sum(s.output_tokens for s in window) / arrivals
    return Workload(rate_rps, max(1.0, context - cached), context, max(2.0, output), tail)


def power_of(model: StepCostModel, window: Sequence[EngineSample]) -> dict[str, float]:
    """Watts of a window by what they are for."""
    use = EnergyUse()
    for sample in window:
        if sample.steps is not None:
            use = use.plus(sample.duration_s, sample.steps)
    seconds = max(use.duration_s, 1e-9)
    return {
        part: model.energy.energy_of(EnergyUse(**{field: getattr(use, field) / seconds for field in fields}))
        for part, fields in PARTS.items()
    }


def setting_of(knobs: Mapping[str, Any]) -> Setting:
    """The hot knobs that were enforced."""
    return Setting(float(knobs["pacing_interval_s"]), int(knobs["max_num_seqs"]), int(knobs["max_num_batched_tokens"]))


def error_of(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Mean of |predicted - measured| / measured; None of nothing."""
    return mean([abs(predicted / measured - 1) for predicted, measured in pairs]) if pairs else None


def _compare(
    knobs: Mapping[str, Any],
    state: SteadyState,
    window: Sequence[EngineSample],
    power_w: Mapping[str, float],
    arrived: Sequence[RequestRecord],
) -> Comparison | None:
    records = [r for s in window for r in s.records if r.ttft_s is not None and r.tpot_s is not None]
    energy_j = [s.energy_j for s in window]
    if min(len(arrived), len(records)) < LEAST_REQUESTS or any(j is None for j in energy_j):
        return None
    tokens = [(r.tpot_s or 0.0, r.output_tokens - 1) for r in records]
    tpot_s = sum(pace_s * n for pace_s, n in tokens) / sum(n for _, n in tokens)
    per_token_j = sum(j or 0.0 for j in energy_j) / sum(s.output_tokens for s in window)
    return Comparison(
        dict(knobs),
        (state.tpot_s, tpot_s),
        (state.ttft_s, median(r.ttft_s or 0.0 for r in arrived)),
        (state.energy_per_output_token_j, per_token_j),
        power_w,
    )


def _learned(model: StepCostModel, sample: EngineSample) -> StepCostModel:
    """After a second; one without a step is passed over, since another engine may have had the card in it."""
    if sample.steps is None or not sample.steps.steps:
        return model
    return model.learned(sample.duration_s, sample.steps, sample.energy_j)


def _life_s(window: Sequence[EngineSample]) -> float:
    lives_s = [r.e2e_latency_s for s in window for r in s.records]
    return mean(lives_s) if lives_s else -inf


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--recordings", type=Path, nargs="+", metavar="FILE", required=True, help=".jsonl.gz")
    parser.add_argument("--window", type=float, default=20.0, help="seconds (default: 20)")
    return command.run("gpu.step_cost", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
