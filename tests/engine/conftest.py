"""One real engine host for all tests that leave it as they found it, but for its block size."""

from __future__ import annotations

import pytest

from tests.engine.lora import write_random_adapter
from tests.engine.real_host import real_host


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """SmolLM2 in float32 with an adapter loaded, on CPU."""
    folder = tmp_path_factory.mktemp("host")
    adapter = write_random_adapter(folder / "adapter")
    lora = {"enable_lora": True, "max_lora_rank": 8, "max_loras": 1, "lora_modules": f"adapter={adapter}"}
    with real_host(folder, lora) as running:
        yield running
