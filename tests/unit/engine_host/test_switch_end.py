"""The end of an overlapped switch, while requests that cannot move exactly end on the old core, and its way back."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.live_requests import Ledger
from reconfigure_daemon.engine_host.switch import RETIRE_GRACE_S, Switch, SwitchPlan
from reconfigure_daemon.ports import SwitchMode
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.workload import FinishReason


class Client:
    """A core's, that takes requests while it lives."""

    def __init__(self):
        self.resources = SimpleNamespace(engine_dead=False)
        self.added = []

    async def get_output_async(self):
        await asyncio.Event().wait()

    async def add_request_async(self, request):
        if self.resources.engine_dead:
            raise RuntimeError("the core is dead")
        self.added.append(request.request_id)

    async def abort_requests_async(self, request_ids):
        pass


class Booter:
    """Notes which core was ended, and with how much grace."""

    def __init__(self):
        self.retired = []

    async def retire(self, core, grace_s=0):
        self.retired.append((core.id, grace_s))


class World:
    """An old and a new core, and one request that stays on the old one; the deadline is far away."""

    def __init__(self):
        self.old, self.new = (Core(number, Client(), None, Configuration({}), 0.0, 0.0) for number in (1, 2))
        self.router, self.booter = CoreRouter(self.old, Ledger()), Booter()
        request = SimpleNamespace(request_id="a", prompt_token_ids=[1], sampling_params=None)
        self.staying = [self.router.ledger.admit(request, self.old.id)]
        self.router.attach(self.new)
        self.router.serving = self.new
        limit_s = time.monotonic() + 600
        plan = SwitchPlan(Configuration({}), lambda _: None, SwitchMode.OVERLAPPED, limit_s, "drain", lambda _: None)
        self.plan, self.switch = plan, Switch(self.router, self.booter, plan, lambda _: None)

    async def retire(self):
        async with asyncio.timeout(5):
            await self.switch._retire(self.old, self.staying)
        assert self.old not in self.router.cores()


@pytest.fixture
async def world():
    made = World()
    yield made
    for core in made.router.cores():
        made.router.detach(core)


async def test_a_request_that_ends_in_time_ends_on_the_old_core(world):
    """Which is then idle, and may end by itself."""
    asyncio.get_running_loop().call_later(0.01, world.router.ledger.finish, "a", FinishReason.LENGTH)
    await world.retire()
    assert world.new.client.added == []
    assert world.booter.retired == [(1, RETIRE_GRACE_S)]


async def test_the_deadline_moves_what_has_not_ended(world):
    """Going on inexactly beats being cut off."""
    world.plan.deadline_s = 0.0
    await world.retire()
    assert world.new.client.added == ["a"]


async def test_an_old_core_that_dies_gives_its_requests_to_the_new_one_at_once(world):
    """Nobody waits for the deadline."""
    world.old.client.resources.engine_dead = True
    await world.retire()
    assert world.new.client.added == ["a"]


async def test_a_new_core_that_dies_ends_the_wait_for_its_recovery(world):
    """Which takes all requests, so that the old core goes, and without grace."""
    asyncio.get_running_loop().call_later(0.01, setattr, world.new.client.resources, "engine_dead", True)
    await world.retire()
    assert world.booter.retired == [(1, 0)]
    assert world.router.ledger.get("a") is not None


async def test_the_old_core_is_retired_whatever_the_move_at_the_end_comes_to(world):
    """A fault of the move is told, and leaves no core behind."""
    world.plan.deadline_s = 0.0

    async def refuses(request):
        raise RuntimeError("no")

    world.new.client.add_request_async = refuses
    with pytest.raises(RuntimeError):
        await world.retire()
    assert world.booter.retired == [(1, RETIRE_GRACE_S)]
    assert world.old not in world.router.cores()


async def test_a_target_is_ended_even_if_the_old_core_dies_as_it_takes_its_requests_back(world):
    """A recovery then takes them all."""
    world.staying[0].core = world.new.id

    async def dies(request):
        world.old.client.resources.engine_dead = True
        raise RuntimeError("the core is dead")

    world.old.client.add_request_async = dies
    with pytest.raises(RuntimeError):
        await world.switch._go_back(world.new, world.old)
    assert world.booter.retired == [(2, 0)]
    assert world.router.serving is world.old
