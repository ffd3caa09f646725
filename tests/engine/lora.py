"""A LoRA adapter with random weights for the small model: enough to change what it says."""

from __future__ import annotations

import json
from pathlib import Path

LAYERS, HIDDEN, RANK = 30, 576, 8


def write_random_adapter(directory: Path) -> Path:
    """Write an adapter in PEFT's format for the query projections of every layer."""
    import torch
    from safetensors.torch import save_file

    directory.mkdir()
    random = torch.Generator().manual_seed(1)
    weights = {}
    for layer in range(LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(RANK, HIDDEN, generator=random) * 0.2
        weights[f"{name}.lora_B.weight"] = torch.randn(HIDDEN, RANK, generator=random) * 0.2
    save_file(weights, directory / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj"], "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(settings))
    return directory
