"""Benchmarks that only a GPU can run are at least loaded where there is none."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest

import benchmarks

MODULES = sorted(module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_it_can_be_loaded(name):
    """What it imports is there; types are not checked where vLLM's own objects are handed around."""
    import_module(name)
