"""The event loop of a load generator: the fastest there is, since its own work delays what it measures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def fast_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, which spends half the CPU on a streamed token; None, for asyncio's own, where it is not installed.

    vLLM brings uvloop, so it is there wherever the engine runs; a machine that only sends load can do without.
    """
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run_on_fast_loop(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine to its end, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=fast_loop_factory()) as runner:
        return runner.run(coroutine)
