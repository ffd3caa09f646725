"""What an emulated engine does under each configuration, as trials that a daemon takes in."""

from __future__ import annotations

import json
from itertools import product

from tests.simulation.plant import Plant, poisson

RATE_RPS, PROMPT, OUTPUT = 5.0, 700, 180
CONTEXT = {"arrival_rate_rps": RATE_RPS, "prompt_tokens": PROMPT, "output_tokens": OUTPUT, "prefix_hit_share": 0.0}


def exported_trials(engine, at):
    """The lines of `reconfigure export`: every cap at every pace, a minute of the engine's time each."""
    header = {"format": "reconfigure-trials", "version": 1, **engine}
    return "\n".join(json.dumps(line) for line in [header, *_trials(at)]) + "\n"


def _trials(at):
    for number, (cap, pace_s, block_size) in enumerate(product((16, 32, 64, 128), (0, 0.01, 0.02, 0.03), (16, 32))):
        energy_j, ttft_s, tpot_s = _under_load(cap, pace_s, number)
        throughput_tps = _saturated(cap, pace_s)
        yield {
            "at": at - 60 * number,
            "configuration": {
                "max_num_seqs": cap, "max_num_batched_tokens": 8192,
                "pacing_interval_s": pace_s, "block_size": block_size,
            },
            "context": CONTEXT,
            "measured": {
                "energy_per_output_token_j": [energy_j, 0.02],
                "throughput_tps": [throughput_tps, 0.02],
                "ttft_p99_s": [ttft_s, 0.1],
                "tpot_p99_s": [tpot_s, 0.05],
            },
        }  # fmt: skip


def _under_load(cap, pace_s, seed):
    plant = Plant(poisson(RATE_RPS, 60, PROMPT, OUTPUT, seed=seed), pace_s, cap)
    plant.second(60)
    tokens = plant.scheduler.totals().output_tokens
    ttfts = sorted(record.ttft_s for record in plant.records)
    tpots = sorted(record.tpot_s for record in plant.records)
    return plant.scheduler.energy_j / tokens, ttfts[int(0.99 * len(ttfts))], tpots[int(0.99 * len(tpots))]


def _saturated(cap, pace_s):
    plant = Plant(poisson(200, 20, PROMPT, OUTPUT), pace_s, cap)
    plant.second(20)
    return plant.scheduler.totals().output_tokens / 20
