"""What vLLM's front end calls and the router does not have is the serving core's, for as long as that lives."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.live_requests import Ledger
from reconfigure_daemon.errors import EngineHostFault
from reconfigure_policies.domain.configuration import Configuration


class Client:
    """The part of vLLM's client that is passed on to, in front of a core that can end."""

    def __init__(self) -> None:
        self.resources = SimpleNamespace(engine_dead=False)
        self.engine_ranks_managed = [0]

    async def get_output_async(self):
        await asyncio.Event().wait()

    async def pin_lora_async(self, lora_id):
        return lora_id == 3

    async def is_sleeping_async(self):
        await asyncio.Event().wait()


@pytest.fixture
async def router():
    """In front of one core."""
    found = CoreRouter(Core(1, Client(), None, Configuration({}), 0.0, 0.0), Ledger())
    yield found
    found.detach(found.serving)


async def test_what_it_does_not_have_is_the_serving_cores(router):
    """Attributes and answers alike."""
    assert router.engine_ranks_managed == [0]
    assert await router.pin_lora_async(3)
    assert not await router.pin_lora_async(lora_id=4)


async def test_what_nobody_has_is_missing(router):
    """As from any object."""
    with pytest.raises(AttributeError, match="fly_async"):
        router.fly_async  # noqa: B018


async def test_a_call_to_a_core_that_ends_is_not_waited_for(router):
    """vLLM's own client would wait for ever."""
    asking = asyncio.create_task(router.is_sleeping_async())
    await asyncio.sleep(0.05)
    router.serving.client.resources.engine_dead = True
    with pytest.raises(EngineHostFault, match="ended before it answered"):
        async with asyncio.timeout(5):
            await asking
