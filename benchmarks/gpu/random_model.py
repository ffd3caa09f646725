"""A model of a real shape with random weights: it costs the time and energy of the real one, and needs no download."""

from __future__ import annotations

import json
from pathlib import Path

MISTRAL_7B = {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 32000,
    "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16", "bos_token_id": 1,
    "eos_token_id": 2, "tie_word_embeddings": False, "hidden_act": "silu", "rope_theta": 10000.0,
    "sliding_window": None,
}  # fmt: skip

#: Mistral Small 3: 47 GB of weights in bf16, so that the GPU and not the host sets the pace of its steps.
MISTRAL_SMALL_24B = {
    **MISTRAL_7B, "hidden_size": 5120, "intermediate_size": 32768, "num_hidden_layers": 40, "vocab_size": 131072,
    "rope_theta": 100000000.0,
}  # fmt: skip


def write_random_model(directory: Path, shape: dict[str, object] | None = None) -> Path:
    """Write `config.json` and a word-per-token tokenizer; load with `load_format: dummy`."""
    shape = shape or MISTRAL_7B
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(shape))
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, int(str(shape["vocab_size"])))}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }  # fmt: skip
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory
