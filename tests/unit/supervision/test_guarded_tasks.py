from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.errors import EngineUnavailable, EssentialTaskDied
from reconfigure_daemon.supervision import BackOff, GuardedTask, run_guarded


class JumpingClock:
    """Sleeping takes no time and moves the clock on."""

    def __init__(self):
        self.now_s = 0.0
        self.slept_s = []

    def wall(self):
        return self.now_s

    def monotonic(self):
        return self.now_s

    async def sleep(self, seconds):
        self.slept_s.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


@given(st.integers(1, 10_000))
def test_back_off_grows_up_to_its_bound(failures):
    """Each wait is at least as long as the one before and never longer than the bound."""
    back_off = BackOff(first_s=0.5, longest_s=30)
    assert 0.5 <= back_off.delay_s(failures) <= back_off.delay_s(failures + 1) <= 30


async def test_a_failing_task_starts_again_with_growing_waits():
    """A task that is not essential is started again for as long as the daemon runs."""
    clock, starts, enough = JumpingClock(), 0, asyncio.Event()

    async def body():
        nonlocal starts
        starts += 1
        if starts == 8:
            enough.set()
        raise OSError("disk")

    running = asyncio.create_task(run_guarded([GuardedTask("sampling", body)], clock))
    await enough.wait()
    running.cancel()
    assert clock.slept_s[:7] == [0.5, 1, 2, 4, 8, 16, 30]


async def test_an_essential_task_that_keeps_failing_ends_the_daemon_with_its_reason():
    """The error names the task, how often it failed and its last words; the other tasks are cancelled."""
    cancelled = asyncio.Event()

    async def body():
        raise OSError("no space left")

    async def other():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    tasks = [GuardedTask("control loop", body, essential=True), GuardedTask("other", other)]
    with pytest.raises(EssentialTaskDied, match="control loop failed 5 times in a row: OSError: no space left"):
        await run_guarded(tasks, JumpingClock())
    assert cancelled.is_set()


async def test_an_essential_task_is_not_retried_when_only_the_operator_can_mend_it():
    """An error that says what to do ends the daemon at once with those words."""

    async def body():
        raise EngineUnavailable("vLLM is missing; run: pip install vllm")

    clock = JumpingClock()
    with pytest.raises(EssentialTaskDied, match=r"^engine failed: vLLM is missing; run: pip install vllm$"):
        await run_guarded([GuardedTask("engine", body, essential=True)], clock)
    assert clock.slept_s == []


async def test_returning_counts_as_failing():
    """A task that ends quietly has stopped doing its work all the same."""

    async def body():
        return None

    with pytest.raises(EssentialTaskDied, match="it returned although"):
        await run_guarded([GuardedTask("loop", body, essential=True)], JumpingClock())


async def test_a_task_that_ran_for_long_is_forgiven_its_earlier_failures():
    """Failures far apart never add up to a dead task."""
    clock, starts = JumpingClock(), 0

    async def body():
        nonlocal starts
        starts += 1
        clock.now_s += 3600
        if starts == 20:
            raise EngineUnavailable("enough")
        raise OSError("once an hour")

    with pytest.raises(EssentialTaskDied, match="enough"):
        await run_guarded([GuardedTask("loop", body, essential=True)], clock)
    assert starts == 20
    assert set(clock.slept_s) == {0.5}


async def test_a_fault_of_ours_is_logged_with_its_traceback(caplog):
    """An unexpected error leaves what a developer needs; an operator's mistake leaves one line."""
    errors, both_logged = [RuntimeError("bug"), EngineUnavailable("mend it")], asyncio.Event()

    async def body():
        if errors:
            raise errors.pop(0)
        both_logged.set()
        await asyncio.Event().wait()

    with caplog.at_level(logging.ERROR):
        running = asyncio.create_task(run_guarded([GuardedTask("t", body)], JumpingClock()))
        await both_logged.wait()
        running.cancel()
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
