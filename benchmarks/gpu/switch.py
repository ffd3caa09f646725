"""Overlapped and sequential switches of a real core under live streams: lost, identity and stall.

    python -m benchmarks.gpu.switch [--streams 64,256] [--output FILE]

In one process with the engine host's own router and no HTTP: streams are asked for, a switch is made in mid-stream,
and every stream's tokens are compared with a run without a switch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(VLLM_USE_FLASHINFER_SAMPLER="0", HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

from benchmarks.gpu.random_model import write_random_model

PROMPT_TOKENS, OUTPUT_TOKENS = 512, 800
KINDS = ("greedy", "seeded", "presence", "frequency", "repetition", "logprobs")


def settings(model: Path, arguments: dict[str, object]):
    from reconfigure_daemon.settings import Settings

    return Settings.model_validate({
        "engine": {"model": str(model), "arguments": arguments},
        "space": {
            "max_num_seqs": {"values": [64, 128, 256, 512], "default": 512},
            "max_num_batched_tokens": {"values": [2048, 8192], "default": 8192},
            "pacing_interval_s": {"values": [0, 0.02, 0.03], "default": 0},
            "block_size": {"values": [16, 32], "default": 16},
        },
    })  # fmt: skip


def sampling(kind: str):
    from vllm import SamplingParams

    extra = {
        "greedy": {}, "seeded": {"temperature": 0.9, "seed": 11}, "presence": {"presence_penalty": 1.1},
        "frequency": {"frequency_penalty": 0.7}, "repetition": {"repetition_penalty": 1.2}, "logprobs": {"logprobs": 3},
    }[kind]  # fmt: skip
    return SamplingParams(**({"temperature": 0.0, "max_tokens": OUTPUT_TOKENS, "ignore_eos": True, "detokenize": False} | extra))


async def one_stream(engine, run: str, i: int):
    prompt = {"prompt_token_ids": [3 + (i * 997 + k * 31) % 31000 for k in range(PROMPT_TOKENS)]}
    times, tokens = [], []
    async for output in engine.generate(prompt, sampling(KINDS[i % len(KINDS)]), request_id=f"{run}-{i}"):
        times.append(time.monotonic())
        tokens = list(output.outputs[0].token_ids)
    return tokens, max((b - a for a, b in zip(times, times[1:])), default=0.0)


async def streams(engine, run: str, n: int, action=None, delay_s: float = 1.5):
    await engine.reset_prefix_cache()
    tasks = [asyncio.create_task(one_stream(engine, run, i)) for i in range(n)]
    report = None
    if action is not None:
        await asyncio.sleep(delay_s)
        report = await action()
    return await asyncio.gather(*tasks), report


async def streams_over_a_cut(host, engine, run: str, n: int, switch):
    """Streams that begin once the new core has booted, so that the cut finds each a few hundred tokens long."""
    await engine.reset_prefix_cache()
    tasks: list[asyncio.Task] = []
    prepare = host._prepare

    async def start_streams(core) -> None:
        await prepare(core)
        tasks.extend(asyncio.create_task(one_stream(engine, run, i)) for i in range(n))
        while sum(len(live.generated) > 150 for live in host.ledger) < n:
            await asyncio.sleep(0.02)

    host._prepare = start_streams
    try:
        report = await switch()
    finally:
        host._prepare = prepare
    return await asyncio.gather(*tasks), report


def compare(reference, run) -> dict[str, object]:
    by_kind: dict[str, list[bool]] = {}
    for i, ((expected, _), (found, _)) in enumerate(zip(reference, run)):
        by_kind.setdefault(KINDS[i % len(KINDS)], []).append(expected == found)
    gaps = sorted(gap for _, gap in run)
    return {
        "complete": sum(len(tokens) == OUTPUT_TOKENS for tokens, _ in run),
        "identical": {kind: f"{sum(same)}/{len(same)}" for kind, same in by_kind.items()},
        "longest_gap_ms": [round(1e3 * gaps[int(q * (len(gaps) - 1))], 1) for q in (0.5, 0.95, 1)],
    }


async def experiment(counts: list[int]) -> dict[str, object]:
    from reconfigure_daemon.engine_host import arguments, vllm_names
    from reconfigure_daemon.engine_host.host import VllmHost
    from reconfigure_daemon.engine_host.front_end import engine_on_router
    from reconfigure_daemon.ports import SwitchMode, SwitchRequest

    folder = Path(tempfile.mkdtemp())
    given = {"load_format": "dummy", "skip_tokenizer_init": True, "max_model_len": 4096,
             "gpu_memory_utilization": 0.45, "kv_cache_memory_bytes": 40 * 2**30}  # fmt: skip
    if "--eager" in sys.argv:
        given["enforce_eager"] = True
    chosen = settings(write_random_model(folder / "model"), given)
    support = vllm_names.check_names()
    print(support, flush=True)
    host = VllmHost(chosen, folder, chosen.engine.model, support)
    configuration = chosen.configuration_space().default()
    parsed = arguments.parse(arguments.command_line(chosen, configuration, chosen.engine.model))
    begun_s = time.monotonic()
    core = await host.boot_first(configuration)
    print(f"first boot {time.monotonic() - begun_s:.1f} s", flush=True)
    engine = engine_on_router(host, core, parsed)
    host.begin_serving()
    results: dict[str, object] = {"first_boot_s": time.monotonic() - begun_s}

    async def switch(block_size: int, mode: str):
        report = await host.switch(
            SwitchRequest(configuration=configuration.with_changes({"block_size": block_size}), mode=SwitchMode(mode)),
            lambda p: print("   ", p.phase, p.elapsed_s, p.detail, flush=True),
        )
        return json.loads(report.model_dump_json())

    await streams(engine, "warm", 8)
    for n in counts:
        reference, _ = await streams(engine, f"ref{n}", n)
        again, _ = await streams(engine, f"again{n}", n)
        results[f"{n} unswitched"] = compare(reference, again)
        print(n, "unswitched", results[f"{n} unswitched"], flush=True)
        for block_size, mode in ((32, "auto"), (16, "overlapped"), (32, "overlapped"), (16, "overlapped")):
            run, report = await streams_over_a_cut(
                host, engine, f"{mode}{n}-{block_size}-{len(results)}", n, lambda: switch(block_size, mode)
            )
            name = f"{n} {mode} to {block_size} ({len(results)})"
            results[name] = {**compare(reference, run), "report": report}
            print(n, mode, json.dumps(results[name]), flush=True)
    if "--cut-only" in sys.argv:
        engine.shutdown()
        return results
    n = counts[0]
    reference, _ = await streams(engine, "ref-seq", n)
    run, report = await streams(engine, "seq", n, lambda: switch(32, "sequential"))
    results["sequential"] = {**compare(reference, run), "report": report}
    print("sequential", json.dumps(results["sequential"]), flush=True)

    async def kill():
        os.kill(host.router.serving.pids[0], signal.SIGKILL)

    run, _ = await streams(engine, "kill", n, kill)
    results["kill -9 of the core"] = compare(reference, run)
    print("kill", json.dumps(results["kill -9 of the core"]), (await host.state()).core_restarts, flush=True)
    engine.shutdown()
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", default="64,256")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--cut-only", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    results = asyncio.run(experiment([int(n) for n in options.streams.split(",")]))
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
