"""What vLLM's front end sees of the cores: one that never dies, and that no client's request can end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.live_requests import Ledger
from reconfigure_daemon.engine_host.replay import PRIVATE_MARK, precopy_request, resumed_request
from reconfigure_daemon.engine_host.resumption import GENERATED, generated_tokens
from reconfigure_daemon.errors import EngineHostFault
from reconfigure_policies.domain.configuration import Configuration


class Client:
    """The part of vLLM's client that is passed on to, in front of a core that can end."""

    def __init__(self) -> None:
        self.resources = SimpleNamespace(engine_dead=False)
        self.client_index = 7
        self.told = []
        self.ranks = {}
        self.outputs = asyncio.Queue()
        self.takes = 10**6
        self.taking = asyncio.Event()
        self.taking.set()

    async def get_output_async(self):
        outputs = await self.outputs.get()
        if isinstance(outputs, Exception):
            raise outputs
        return outputs

    async def add_request_async(self, request):
        await self.taking.wait()
        if self.takes == 0:
            raise RuntimeError("the core is dead")
        self.takes -= 1
        self.told.append(("add", request.request_id))
        self.ranks[request.request_id] = request.data_parallel_rank

    async def abort_requests_async(self, request_ids):
        self.told += [("abort", request_id) for request_id in request_ids]

    async def pin_lora_async(self, lora_id):
        return lora_id == 3

    async def is_sleeping_async(self):
        await asyncio.Event().wait()


class Params(SimpleNamespace):
    """The part of vLLM's sampling parameters that a move touches."""

    def clone(self):
        return Params(**vars(self))


def a_core(number=1, replicas=1):
    return Core(number, Client(), None, Configuration({}), 0.0, 0.0, replicas)


def a_request(name, **extra_args):
    params = Params(extra_args=extra_args or None, stop=None, prompt_logprobs=None)
    return SimpleNamespace(request_id=name, prompt_token_ids=[1, 2], sampling_params=params)


def some_outputs(*names):
    fields = {"new_token_ids": [7], "new_logprobs": None, "finish_reason": None}
    made = [SimpleNamespace(request_id=name, **fields) for name in names]
    return SimpleNamespace(outputs=made, scheduler_stats=None)


@pytest.fixture
async def router():
    """In front of one core."""
    found = CoreRouter(a_core(), Ledger())
    yield found
    for core in found.cores():
        found.detach(core)


async def test_what_it_does_not_have_is_the_serving_cores(router):
    """Attributes and answers alike."""
    assert router.client_index == 7
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


async def test_a_client_cannot_bring_generated_tokens_along(router):
    """What the scheduler would take for tokens of another core never gets there; a client's own arguments do."""
    poison = a_request("poison", **{GENERATED: 5, "mine": 1})
    await router.add_request_async(poison)
    assert poison.sampling_params.extra_args == {"mine": 1}
    live = router.ledger.get("poison")
    assert list(generated_tokens(resumed_request(live).sampling_params)) == []
    live.generated.append(8)
    assert list(generated_tokens(resumed_request(live).sampling_params)) == [8]
    await router.add_request_async(SimpleNamespace(request_id="embedding", prompt_token_ids=[1], sampling_params=None))


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
async def test_a_request_that_three_cores_die_with_fails_and_the_others_live(router):
    """It gets no output in between, as the others do; an embedding and a session have no way to fail alone."""
    router.on_core_death = lambda *_: None
    for name in ("poison", "healthy", "embedding", "session"):
        await router.add_request_async(a_request(name))
    router.ledger.get("embedding").request.sampling_params = None
    router.ledger.get("session").request.resumable = True
    for number in (2, 3):
        router.serving.client.outputs.put_nowait(RuntimeError("died"))
        await router.serving.reader
        assert len(router.ledger) == 4
        fresh = a_core(number)
        router.attach(fresh)
        router.serving = fresh
        await router.move(router.ledger, fresh)
        fresh.client.outputs.put_nowait(some_outputs("healthy"))
        assert [o.request_id for o in (await router.get_output_async()).outputs] == ["healthy"]
    fresh.client.outputs.put_nowait(RuntimeError("died"))
    await fresh.reader
    assert [live.request.request_id for live in router.ledger] == ["healthy", "embedding", "session"]
    (failed,) = (await router.get_output_async()).outputs
    assert (failed.request_id, failed.finish_reason.name, failed.new_token_ids) == ("poison", "ERROR", [])
    assert router.ledger.lost == 1


async def test_a_name_like_the_routers_own_is_a_clients_request_all_the_same(router):
    """Only what the router has submitted itself is kept from the front end."""
    name = f"chatcmpl-{PRIVATE_MARK}mine"
    await router.add_request_async(a_request(name))
    asking = asyncio.create_task(router.run_private(router.serving, [a_request(f"{PRIVATE_MARK}1")]))
    await asyncio.sleep(0)
    router.serving.client.outputs.put_nowait(some_outputs(name, f"{PRIVATE_MARK}1", f"{PRIVATE_MARK}of-a-core-before"))
    async with asyncio.timeout(5):
        assert [o.request_id for o in (await router.get_output_async()).outputs] == [name]
    asking.cancel()


async def test_a_target_that_stops_taking_requests_leaves_none_of_them_twice(router):
    """All that left the old core are aborted there, so that it can take them back."""
    old, target = router.serving, a_core(2)
    router.attach(target)
    for name in ("a", "b", "c"):
        await router.add_request_async(a_request(name))
    old.client.told.clear()
    target.client.takes = 1
    with pytest.raises(RuntimeError):
        await router.move(router.ledger, target)
    assert old.client.told == [("abort", "a"), ("abort", "b")]
    await router.move([live for live in router.ledger if live.core == target.id], old)
    assert old.client.told[2:] == [("add", "a"), ("add", "b")]
    assert {live.core for live in router.ledger} == {old.id}


@pytest.fixture
async def replicated():
    """In front of one core with two replicas."""
    found = CoreRouter(a_core(replicas=2), Ledger())
    yield found
    for core in found.cores():
        found.detach(core)


async def test_requests_go_to_the_replica_that_has_the_fewest(replicated):
    """In turn while none ends; afterwards whoever has room."""
    ranks = replicated.serving.client.ranks
    for name in "abcd":
        await replicated.add_request_async(a_request(name))
    assert ranks == {"a": 0, "b": 1, "c": 0, "d": 1}
    await replicated.abort_requests_async(["b", "d"])
    for name in "ef":
        await replicated.add_request_async(a_request(name))
    assert (ranks["e"], ranks["f"]) == (1, 1)


async def test_a_client_has_no_say_in_the_replica(replicated):
    """vLLM takes a rank from a header; it may be one that is not there after the next switch."""
    await replicated.add_request_async(SimpleNamespace(**vars(a_request("a")), data_parallel_rank=9))
    assert replicated.serving.client.ranks == {"a": 0}


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("replicas", [1, 2, 3])
async def test_streams_follow_their_copies_and_are_spread_evenly(replicated, replicas):
    """A copy is of use only in the prefix cache of the replica that the stream moves to."""
    target = a_core(2, replicas)
    replicated.attach(target)
    for number in range(6):
        await replicated.add_request_async(a_request(str(number)))
    copies = {
        live.request.request_id: precopy_request(live, 1, target.replica_for(live.number)).data_parallel_rank
        for live in replicated.ledger
    }
    await replicated.move(replicated.ledger, target)
    assert target.client.ranks == copies
    assert sorted(copies.values()) == sorted(list(range(replicas)) * (6 // replicas))
    assert {live.replica for live in replicated.ledger} == set(range(replicas))


async def test_the_front_end_sees_one_engine_with_the_gauges_of_all_replicas(replicated):
    """Requests add up, the share of the KV cache in use is the mean, and the ledger tells the same."""
    await replicated.add_request_async(a_request("a"))
    shown = []
    for replica, gauges in ((0, (4, 1, 0.5)), (1, (2, 0, 0.1)), (0, (1, 0, 0.3))):
        stats = dict(zip(("num_running_reqs", "num_waiting_reqs", "kv_cache_usage"), gauges, strict=True))
        outputs = SimpleNamespace(outputs=[], scheduler_stats=SimpleNamespace(**stats), engine_index=replica)
        replicated.serving.client.outputs.put_nowait(outputs)
        told = await replicated.get_output_async()
        assert told.engine_index == 0
        shown.append(tuple(getattr(told.scheduler_stats, name) for name in stats))
        totals = replicated.ledger.totals()
        assert (totals.running, totals.waiting, totals.kv_cache_usage) == shown[-1]
    assert shown == [(4, 1, 0.25), (6, 1, 0.3), (3, 0, pytest.approx(0.2))]


@pytest.mark.parametrize("where", ["at the door", "on the way into the core"])
async def test_a_client_that_leaves_before_it_is_admitted_is_forgotten(router, where):
    """By the front end, which does not see to that itself, and by the core if that may have got it."""
    gone = []
    router.on_client_left = gone.append
    if where == "at the door":
        router.stop_admitting()
    else:
        router.serving.client.taking.clear()
    adding = asyncio.create_task(router.add_request_async(a_request("a")))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    router.admit_again()
    assert gone == ["a"]
    assert len(router.ledger) == 0
    assert router.serving.client.told == ([] if where == "at the door" else [("abort", "a")])


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
async def test_vllms_front_end_forgets_a_client_that_left_at_the_door(router, monkeypatch):
    """Its own table of requests is empty again."""
    from vllm import SamplingParams
    from vllm.v1.engine import EngineCoreRequest
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector

    from reconfigure_daemon.engine_host.front_end import engine_on_router

    processor = OutputProcessor(None, log_stats=False)
    made = SimpleNamespace(output_processor=processor)
    monkeypatch.setattr(AsyncLLM, "from_vllm_config", lambda **_: made)
    flags = dict.fromkeys(("enable_log_requests", "disable_log_stats", "aggregate_engine_logging"), False)
    assert engine_on_router(SimpleNamespace(router=router), router.serving, SimpleNamespace(**flags)) is made
    params = SamplingParams(detokenize=False)
    request = EngineCoreRequest(
        request_id="a-1", prompt_token_ids=[1], mm_features=None, sampling_params=params, pooling_params=None,
        arrival_time=0.0, lora_request=None, cache_salt=None, data_parallel_rank=None, external_req_id="a",
    )  # fmt: skip
    processor.add_request(request, None, None, 0, RequestOutputCollector(params.output_kind, "a-1"))
    assert processor.has_unfinished_requests()
    router.stop_admitting()
    adding = asyncio.create_task(router.add_request_async(request))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert not processor.has_unfinished_requests()
    assert not processor.external_req_ids
