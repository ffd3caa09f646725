"""Moving between one GPU and four: what each GPU would hold, and whether a second core fits beside the first."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.engine_host import memory
from reconfigure_daemon.engine_host.gpu_room import GpuUse, Ranks, TooFewGpus, check_count, room_on_gpus
from reconfigure_daemon.engine_host.memory import room_beside

GIB = 2**30


def core(ranks, *, weights_gib=14.0, kv_gib=20.0, total_gib=80.0, visible=4):
    """The workers of a core: its weights divided among them, a KV cache and some activations on each."""
    held = weights_gib / ranks + kv_gib + 1
    return [
        GpuUse(*(int(gib * GIB) for gib in (total_gib, total_gib - held - 1, held, weights_gib / ranks)), visible)
        for _ in range(ranks)
    ]


def test_from_four_gpus_to_one_all_weights_come_to_lie_on_one():
    """A new core on one GPU needs four times the weights there, and says so before it is booted."""
    room = room_on_gpus(core(4), Ranks(4), Ranks(1), 0.45, kv_is_fixed=True)
    assert room.needed == (14 + 20 + 1 + 2) * GIB
    assert room.enough
    tight = room_on_gpus(core(4, weights_gib=60), Ranks(4), Ranks(1), 0.45, kv_is_fixed=True)
    assert not tight.enough  # beside the 36 GiB of the old one; the old core's own need would have seemed to fit
    assert core(4, weights_gib=60)[0].held + 2 * GIB < core(4, weights_gib=60)[0].free


def test_from_one_gpu_to_four_the_shared_gpu_decides():
    """The three spare GPUs are empty; on the first the new core's quarter has to fit beside the old whole."""
    room = room_on_gpus(core(1), Ranks(1), Ranks(4), 0.45, kv_is_fixed=True)
    assert (room.free, room.needed) == (core(1)[0].free, int((3.5 + 20 + 1 + 2) * GIB))
    assert room.enough
    assert not room_on_gpus(core(1, weights_gib=55), Ranks(1), Ranks(4), 0.45, kv_is_fixed=True).enough


def test_a_share_of_each_gpu_has_to_be_free_as_vllm_wants_it():
    """Without a fixed KV cache two cores fit while both shares are below a half."""
    use = [GpuUse(80 * GIB, 43 * GIB, 36 * GIB, 3 * GIB, 4)] * 4
    assert room_on_gpus(use, Ranks(4), Ranks(2), 0.45, kv_is_fixed=False).enough
    assert not room_on_gpus(use, Ranks(4), Ranks(2), 0.6, kv_is_fixed=False).enough


def test_the_same_parallelism_needs_what_the_running_core_holds():
    """Nothing is known better than what is there already."""
    room = room_on_gpus(core(4), Ranks(4), Ranks(4), 0.45, kv_is_fixed=True)
    assert room.needed == core(4)[0].held + 2 * GIB


@given(old=st.sampled_from([1, 2, 4, 8]), new=st.sampled_from([1, 2, 4, 8]), weights_gib=st.floats(1, 70))
def test_fewer_gpus_never_need_less_of_each(old, new, weights_gib):
    """The need of a GPU falls with the number of ranks, whatever the running core is."""
    uses = core(old, weights_gib=weights_gib, total_gib=200)
    needed = [room_on_gpus(uses, Ranks(old), Ranks(ranks), 0.9, kv_is_fixed=True).needed for ranks in (new, 2 * new)]
    assert needed[0] >= needed[1]


def replicas(count, *, of_replica=1, **sizes):
    """The workers of a core with replicas: each replica has the whole weights."""
    return core(of_replica, **sizes) * count


def test_a_replica_more_takes_another_gpu_with_all_of_the_weights():
    """One replica becomes two: beside the old one on the first GPU, and alone on the second; and back."""
    room = room_on_gpus(core(1), Ranks(1), Ranks(1, 2), 0.45, kv_is_fixed=True)
    assert (room.free, room.needed) == (core(1)[0].free, (14 + 20 + 1 + 2) * GIB)
    back = room_on_gpus(replicas(2), Ranks(1, 2), Ranks(1), 0.45, kv_is_fixed=True)
    assert back == room


def test_replicas_on_two_gpus_each_become_one_on_four():
    """The weights of one replica are divided among four, whatever other replicas hold."""
    room = room_on_gpus(replicas(2, of_replica=2), Ranks(2, 2), Ranks(4), 0.45, kv_is_fixed=True)
    assert room.needed == int((3.5 + 20 + 1 + 2) * GIB)


@pytest.mark.parametrize(
    ("values", "gpus"),
    [
        ({}, 1),
        ({"tensor_parallel_size": 4}, 4),
        ({"pipeline_parallel_size": 2}, 2),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, 4),
        ({"tensor_parallel_size": 2, "data_parallel_size": 3}, 6),
    ],
)
def test_gpus_are_the_product_of_all_sizes(values, gpus):
    """What is not named is not parallel."""
    assert Ranks.of(values).gpus == gpus


def test_more_ranks_than_gpus_are_refused_before_anything_stops():
    """Both numbers are told; where the count is not known, vLLM has the word."""
    with pytest.raises(TooFewGpus, match=r"takes 8 GPUs .* and the engine sees 4"):
        check_count(core(4), Ranks(8))
    with pytest.raises(TooFewGpus, match=r"takes 6 GPUs \(.* x data_parallel_size\) and the engine sees 4"):
        check_count(core(4), Ranks(2, 3))
    check_count(core(4), Ranks(2, 2))
    check_count(core(4, visible=0), Ranks(8))


async def test_a_plan_rests_on_what_the_workers_report():
    """The target's own parallelism and share are what is asked about; too many ranks are refused."""
    report = [{"total": 80 * GIB, "free": 40 * GIB, "held": 36 * GIB, "weights": 7 * GIB, "visible": 2}]

    async def utility_of_each(method):
        assert method == "reconfigure_memory"
        return [report, report]  # of two replicas

    cache = SimpleNamespace(gpu_memory_utilization=0.45, kv_cache_memory_bytes=None)
    parallel = SimpleNamespace(tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=2)
    config = SimpleNamespace(cache_config=cache, parallel_config=parallel)
    running = SimpleNamespace(utility_of_each=utility_of_each, config=config)
    assert (await room_beside(running, {})).enough
    assert (await room_beside(running, {"tensor_parallel_size": 2, "data_parallel_size": 1})).enough
    assert not (await room_beside(running, {"data_parallel_size": 1, "gpu_memory_utilization": 0.6})).enough
    with pytest.raises(TooFewGpus, match="takes 4 GPUs"):
        await room_beside(running, {"tensor_parallel_size": 2})  # of each of its two replicas


@pytest.mark.parametrize(("replicas", "needed_gib"), [(1, 4), (2, 8), (4, 16)])
async def test_without_a_gpu_each_replica_needs_what_one_of_now_holds(monkeypatch, replicas, needed_gib):
    """In main memory, beside two that hold 4 GiB each, and one more for what a boot takes."""

    async def utility_of_each(_):
        return [[{}], [{}]]

    monkeypatch.setattr(memory, "_resident", lambda pid: 4 * GIB)
    parallel = SimpleNamespace(tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=2)
    config = SimpleNamespace(parallel_config=parallel)
    running = SimpleNamespace(utility_of_each=utility_of_each, config=config, pids=[1, 2])
    assert (await room_beside(running, {"data_parallel_size": replicas})).needed == (needed_gib + 1) * GIB
