"""Several GPU benchmarks at the same time, each on a GPU of its own.

    python -m benchmarks.gpu.side_by_side FOLDER "trace --tpot 0.2 --rounds 5" "burst" "saturated --repeats 5" ...

Each command is the name of a benchmark in `benchmarks/gpu` with its arguments. They start in order, one for each GPU,
and the next ones follow where a GPU has become free. Every benchmark compares its arms on its own GPU, so that what the
other GPUs do meanwhile is in both. Logs and results lie in FOLDER; a `trace` keeps there what it has after each slice.
Compilers cache by GPU, since two that write the same cache wait for each other.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import machine

#: Folders of caches that vLLM's compilers keep, by the variable that names each.
CACHES = ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")

#: Benchmarks with `--keep`.
KEEPING = ("trace", "overhead")

LOOK_S = 1.0


@dataclass(frozen=True)
class Lane:
    """A benchmark that runs on one GPU."""

    name: str
    gpu: str
    process: subprocess.Popen[bytes]


def main(argv: Sequence[str] | None = None) -> int:
    """Run all; 0 if all reached their targets, 1 if one did not, 130 if it was interrupted."""
    words = (__doc__ or "").strip()
    parser = argparse.ArgumentParser(
        description=words.splitlines()[0], epilog=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for logs and results")
    parser.add_argument("commands", nargs="+", metavar="'NAME ARGUMENTS'", help="benchmarks of benchmarks/gpu")
    arguments = parser.parse_args(argv)
    unknown = [line for line in arguments.commands if not is_benchmark(line)]
    if unknown:
        parser.error(f"there is no benchmark of that name in benchmarks/gpu: {', '.join(map(repr, unknown))}")
    gpus = visible(len(machine.gpus()))
    if not gpus:
        parser.error("there is no NVIDIA GPU that could be metered here")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run(arguments.commands, gpus, arguments.folder.resolve())


def is_benchmark(line: str) -> bool:
    """Whether a command names one, and not this."""
    name = (shlex.split(line) or [""])[0]
    return name != "side_by_side" and name.isidentifier() and (Path(__file__).parent / f"{name}.py").is_file()


def visible(count: int) -> list[str]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [entry.strip() for entry in named.split(",")][:count] if named else [str(index) for index in range(count)]


def run(commands: Sequence[str], gpus: Sequence[str], folder: Path) -> int:
    """Start what a GPU is free for until everything has ended; an interruption ends what runs, in order."""
    waiting, free = list(enumerate(commands)), list(gpus)
    running: list[Lane] = []
    codes: list[int] = []
    try:
        while waiting or running:
            while waiting and free:
                number, line = waiting.pop(0)
                running.append(start(number, line, free.pop(0), folder))
            time.sleep(LOOK_S)
            for lane in [lane for lane in running if lane.process.poll() is not None]:
                running.remove(lane)
                free.append(lane.gpu)
                codes.append(lane.process.returncode)
                print(f"{time.strftime('%H:%M:%S')} {lane.name} on GPU {lane.gpu} ended with {codes[-1]}", flush=True)
    except KeyboardInterrupt:
        end(running)
        return 130
    return max(map(bool, codes), default=False)


def start(number: int, line: str, gpu: str, folder: Path) -> Lane:
    """One benchmark on one GPU."""
    benchmark, *words = shlex.split(line)
    name = f"{number}.{benchmark}"
    files = ["--output", str(folder / f"{name}.json")]
    if benchmark in KEEPING:
        files += ["--keep", str(folder / f"{name}.json")]
    caches = {variable: str(folder / "caches" / gpu / variable.lower()) for variable in CACHES}
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.gpu.{benchmark}", *words, *files],
        env={**os.environ, **caches, "CUDA_VISIBLE_DEVICES": gpu},
        stdin=subprocess.DEVNULL,
        stdout=(folder / f"{name}.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    print(f"{time.strftime('%H:%M:%S')} {name} on GPU {gpu}: {line}", flush=True)
    return Lane(name, gpu, process)


def end(lanes: Sequence[Lane]) -> None:
    """As Ctrl-C would, each with time to end its servers."""
    for lane in lanes:
        lane.process.send_signal(signal.SIGINT)
    for lane in lanes:
        lane.process.wait()


if __name__ == "__main__":
    sys.exit(main())
