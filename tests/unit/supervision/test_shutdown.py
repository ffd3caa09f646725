from __future__ import annotations

import asyncio
import os
import signal

import pytest

from reconfigure_daemon.supervision import Shutdown, StopCause


@pytest.mark.parametrize(
    ("number", "cause"), [(signal.SIGTERM, StopCause.TERMINATED), (signal.SIGINT, StopCause.INTERRUPTED)]
)
async def test_a_signal_is_the_cause_of_the_end(number, cause):
    """What asked for the end decides what happens to the engine host."""
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    shutdown.listen(loop, on_reload=lambda: None)
    try:
        os.kill(os.getpid(), number)
        assert await shutdown.requested() is cause
    finally:
        for listened in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(listened)


async def test_hang_up_reloads_and_does_not_end():
    """SIGHUP reads the configuration again and nothing else."""
    shutdown, reloaded = Shutdown(), asyncio.Event()
    loop = asyncio.get_running_loop()
    shutdown.listen(loop, on_reload=reloaded.set)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await reloaded.wait()
        assert shutdown.cause is None
    finally:
        for listened in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(listened)


async def test_a_second_request_is_impatience():
    """The first cause holds; asking again only stops the waiting."""
    shutdown = Shutdown()
    shutdown.request(StopCause.INTERRUPTED)
    shutdown.request(StopCause.TERMINATED)
    assert await shutdown.requested() is StopCause.INTERRUPTED
    await shutdown.impatient()
