"""Cold knobs that are part of one of vLLM's JSON arguments: how they are put in, and how they are read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconfigure_policies.domain.configuration import KnobValue

#: Knobs of the space that no argument of `vllm serve` has the name of.
WITHIN_JSON = ("cudagraph_mode", "speculative")

NO_SPECULATION = "none"

#: n-grams that drafts are looked up by: shorter ones match too often by chance.
_NGRAM = {"prompt_lookup_max": 4, "prompt_lookup_min": 2}


def json_arguments(values: Mapping[str, KnobValue], given: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON arguments that hold these knobs, joined with what the settings give for the same argument."""
    found: dict[str, Any] = {}
    if "cudagraph_mode" in values:
        own = given.get("compilation_config", given.get("compilation-config", "{}"))
        found["compilation_config"] = json.dumps({**json.loads(str(own)), "cudagraph_mode": values["cudagraph_mode"]})
    speculative = values.get("speculative", NO_SPECULATION)
    if speculative != NO_SPECULATION:
        found["speculative_config"] = json.dumps(speculative_config(str(speculative)))
    return found


def speculative_config(value: str) -> dict[str, Any]:
    """What `METHOD:TOKENS` or `METHOD:TOKENS:MODEL` means to vLLM: `ngram:3`, `eagle3:3:/models/drafter`."""
    method, tokens, *model = value.split(":", 2)
    config: dict[str, Any] = {"method": method, "num_speculative_tokens": int(tokens)}
    if method == "ngram":
        config |= _NGRAM
    return {**config, "model": model[0]} if model else config


def read_back(name: str, config: Any, booted: KnobValue) -> KnobValue:
    """The value that a core's `VllmConfig` has for such a knob."""
    if name == "cudagraph_mode":
        if getattr(config.model_config, "enforce_eager", False):
            return booted  # nothing is captured in eager mode, whatever the mode
        return str(getattr(getattr(config.compilation_config, "cudagraph_mode", None), "name", booted))
    drafting = getattr(config, "speculative_config", None)
    if drafting is None:
        return NO_SPECULATION
    same = speculative_config(str(booted)) if booted != NO_SPECULATION else {}
    if (drafting.method, drafting.num_speculative_tokens) == (same.get("method"), same.get("num_speculative_tokens")):
        return booted
    return f"{drafting.method}:{drafting.num_speculative_tokens}"
