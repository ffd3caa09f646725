"""An event loop in which waiting takes no time: hours of a controller's life pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _EagerSelector:
    """Never waits for a timer; waits for real only while a thread works, whose answer no clock can hurry."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.loop: VirtualTimeLoop | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        """What is ready, after the loop's time was moved on by what it would have waited."""
        assert self.loop is not None
        if self.loop.busy_threads and timeout != 0:
            return self._real.select(None)
        if timeout is None:
            raise AssertionError("everything waits and nothing will ever happen")
        self.loop.now_s += max(0.0, timeout)
        return self._real.select(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its time moves on when nothing is left to do, straight to the next timer."""

    def __init__(self) -> None:
        selector = _EagerSelector()
        self.now_s = 1_000.0
        self.busy_threads = 0
        super().__init__(selector)  # type: ignore[arg-type]  # it stands in for a selector, and is none
        selector.loop = self

    def time(self) -> float:
        """Seconds of virtual time."""
        return self.now_s

    def run_in_executor(  # type: ignore[override]  # whatever the executor, the future is one
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """As the loop's own; time stands still until the thread has answered."""
        self.busy_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self.busy_threads -= 1


class LoopClock:
    """The loop's own time as a `Clock`; the wall clock started at a fixed moment."""

    def __init__(self, wall_at_zero: float = 1_800_000_000.0) -> None:
        self._wall_at_zero = wall_at_zero

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall_at_zero + self.monotonic()

    def monotonic(self) -> float:
        """Seconds of the running loop."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        await asyncio.sleep(seconds)


def in_virtual_time(story: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, run from start to end without waiting."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(story)
