"""A decision with many observations in the store: how long it takes, and what memory it needs.

    python -m benchmarks.store_scale [--quick]

The surrogates learn from the newest 100 trials here (`learning.max_trials`; 400 as shipped, whose fit takes longer).
Reading the store, fitting the surrogates and forecasting are the daemon's own; a fit comes every ten minutes at most,
a decision whenever the workload shifts. Observations are made up from the emulated engine's model of a window.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.harness import command
from benchmarks.harness.rows import at_most, below, shown
from benchmarks.harness.statistics import percentile
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.learning import Learning
from reconfigure_daemon.ports import Served
from reconfigure_daemon.settings import Settings
from reconfigure_daemon.store import SqliteTrials, Store
from reconfigure_daemon.store.database import connect, transaction
from reconfigure_daemon.store.queries import insert_observation
from reconfigure_daemon.store.store import FILE_NAME
from reconfigure_daemon.virtual_world.traffic import WindowTraffic
from reconfigure_daemon.virtual_world.window_model import WindowModel
from reconfigure_policies.decision import DecisionTerms, redecide
from reconfigure_policies.domain.decision import Snapshot
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.history import Observation, OwnChanges
from reconfigure_policies.domain.objective import Objective
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow

SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [64, 128, 256], "default": 256},
            "max_num_batched_tokens": {"values": [2048, 8192], "default": 8192},
            "pacing_interval_s": {"values": [0, 0.01, 0.02, 0.03, 0.045]},
            "tensor_parallel_size": {"values": [1, 2, 4], "default": 1},
            "block_size": {"values": [16, 32]},
        },
        "slo": {"ttft_s": 1, "tpot_s": 0.05},
        "learning": {"max_trials": 100},
    }
)
SERVED = Served("emulated", "0", "made-up", "emulated")

#: Different windows; the store repeats them at other times.
DISTINCT = 400

MEGABYTE = 1e6


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """A small store first, then the large one, in one process."""
    few, many = 1_000, 5_000 if arguments.quick else arguments.observations
    with tempfile.TemporaryDirectory() as name:
        small = await measured(Path(name) / "small", few, console)
        large = await measured(Path(name) / "large", many, console)
    return command.Findings(
        rows=[
            below(f"decision with {many} observations in the store, p99", large["decision_p99_s"], 1, "s"),
            shown("the same, median", large["decision_p50_s"], "s"),
            shown(f"decision with {few} observations, median", small["decision_p50_s"], "s"),
            at_most(
                f"resident memory beyond that with {few} observations",
                (large["resident"] - small["resident"]) / MEGABYTE,
                50,
                "MB",
            ),
            shown("candidates forecast", large["candidates"]),
            shown(
                f"first forecasts with {many} observations: reading, fitting and judging the fit", large["first_s"], "s"
            ),
            shown("size of the store", large["bytes"] / MEGABYTE, "MB"),
        ],
        notes=[
            "A decision: forecasts of every candidate for two workloads that were not asked for before, and a choice."
        ],
        details={"small": small, "large": large},
    )


async def measured(folder: Path, count: int, console: Console) -> dict[str, float]:
    """Fill a store, and decide with it."""
    store = Store.open(folder, SystemClock())
    fill(folder / FILE_NAME, count)
    console.print(f"{count} observations in the store")
    learning = Learning(lambda: SETTINGS, SystemClock(), SqliteTrials(store), Metrics("benchmark"), lambda: SERVED)
    began_s = time.perf_counter()
    forecasts = await learning.forecasts(WorkloadContext(10.0, 500.0, 60.0))
    first_s = time.perf_counter() - began_s
    if forecasts is None:
        raise command.BenchmarkStuck(f"nothing was forecast: {learning.describe()}")
    durations_s = [await decided_in_s(learning, rate_rps) for rate_rps in range(11, 51)]
    learning.close()
    await store.close()
    return {
        "decision_p50_s": percentile(durations_s, 0.5) or 0.0,
        "decision_p99_s": percentile(durations_s, 0.99) or 0.0,
        "first_s": first_s,
        "candidates": len(forecasts),
        "resident": psutil.Process().memory_info().rss,
        "bytes": (folder / FILE_NAME).stat().st_size,
    }


async def decided_in_s(learning: Learning, rate_rps: float) -> float:
    """Seconds of one decision."""
    began_s = time.perf_counter()
    space = SETTINGS.configuration_space()
    usual = WorkloadContext(rate_rps, 500.0, 60.0)
    snapshot = Snapshot(
        time.time(),
        space.default(),
        Objective.ENERGY,
        SETTINGS.slo.to_domain(),
        forecasts=await learning.forecasts(usual) or (),
        strained=await learning.forecasts(replace(usual, arrival_rate_rps=1.5 * rate_rps)) or (),
    )
    redecide("it was asked for", snapshot, space, DecisionTerms(), OwnChanges(), ())
    return time.perf_counter() - began_s


def fill(path: Path, count: int) -> None:
    """Write observations as the daemon would, all at once."""
    distinct, now = made_up(), time.time()
    connection = connect(path, 10.0)
    with transaction(connection):
        for index in range(count):
            insert_observation(connection, replace(distinct[index % DISTINCT], at=now - 30.0 * index))
    connection.close()


def made_up() -> list[Observation]:
    """Windows of every kind of load under candidates of the space, with a few percent of noise."""
    draw, model = random.Random(1), WindowModel(SETTINGS.slo.to_domain())
    candidates = list(SETTINGS.configuration_space().enumerate())
    found: list[Observation] = []
    while len(found) < DISTINCT:
        configuration, n = draw.choice(candidates), draw.randint(60, 1500)
        traffic = WindowTraffic(30.0, n, n * draw.uniform(200, 1000), n * draw.uniform(30, 120), 3000.0)
        served = model.serve(traffic, configuration)
        if served.backlog or served.steady is None:
            continue
        steady = served.steady
        window = WorkloadWindow(
            0.0,
            30.0,
            n,
            n,
            round(served.slo_met),
            round(traffic.prompt_tokens),
            0,
            round(traffic.output_tokens),
            0,
            steady.batch,
            0.0,
            Percentiles(steady.ttft_s, None, steady.ttft_tail_s),
            tpot_s=Percentiles(steady.tpot_s, None, steady.tpot_tail_s),
            energy_j=served.energy_j * draw.gauss(1, 0.02),
            energy_source="estimated",
        )
        found.append(Observation(0.0, "h", SERVED.engine, SERVED.engine_version, SERVED.model, configuration, window))
    return found


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--observations", type=int, default=100_000, help="in the large store (default: 100000)")
    return command.run("store_scale", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
