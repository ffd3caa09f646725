"""Moving between one GPU and four: what each GPU would hold, and whether a second core fits beside the first."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.engine_host.gpu_room import GpuUse, TooFewGpus, check_count, ranks_of, room_on_gpus
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
    room = room_on_gpus(core(4), 1, 0.45, kv_is_fixed=True)
    assert room.needed == (14 + 20 + 1 + 2) * GIB
    assert room.enough
    tight = room_on_gpus(core(4, weights_gib=60), 1, 0.45, kv_is_fixed=True)
    assert not tight.enough  # beside the 36 GiB of the old one; the old core's own need would have seemed to fit
    assert core(4, weights_gib=60)[0].held + 2 * GIB < core(4, weights_gib=60)[0].free


def test_from_one_gpu_to_four_the_shared_gpu_decides():
    """The three spare GPUs are empty; on the first the new core's quarter has to fit beside the old whole."""
    room = room_on_gpus(core(1), 4, 0.45, kv_is_fixed=True)
    assert (room.free, room.needed) == (core(1)[0].free, int((3.5 + 20 + 1 + 2) * GIB))
    assert room.enough
    assert not room_on_gpus(core(1, weights_gib=55), 4, 0.45, kv_is_fixed=True).enough


def test_a_share_of_each_gpu_has_to_be_free_as_vllm_wants_it():
    """Without a fixed KV cache two cores fit while both shares are below a half."""
    use = [GpuUse(80 * GIB, 43 * GIB, 36 * GIB, 3 * GIB, 4)] * 4
    assert room_on_gpus(use, 2, 0.45, kv_is_fixed=False).enough
    assert not room_on_gpus(use, 2, 0.6, kv_is_fixed=False).enough


def test_the_same_parallelism_needs_what_the_running_core_holds():
    """Nothing is known better than what is there already."""
    room = room_on_gpus(core(4), 4, 0.45, kv_is_fixed=True)
    assert room.needed == core(4)[0].held + 2 * GIB


@given(old=st.sampled_from([1, 2, 4, 8]), new=st.sampled_from([1, 2, 4, 8]), weights_gib=st.floats(1, 70))
def test_fewer_gpus_never_need_less_of_each(old, new, weights_gib):
    """The need of a GPU falls with the number of ranks, whatever the running core is."""
    uses = core(old, weights_gib=weights_gib, total_gib=200)
    needed = [room_on_gpus(uses, ranks, 0.9, kv_is_fixed=True).needed for ranks in (new, 2 * new)]
    assert needed[0] >= needed[1]


@pytest.mark.parametrize(
    ("values", "ranks"),
    [
        ({}, 3),
        ({"tensor_parallel_size": 4}, 4),
        ({"pipeline_parallel_size": 2}, 2),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, 4),
    ],
)
def test_ranks_are_the_product_of_both_sizes(values, ranks):
    """A space without either leaves the core as it is."""
    assert ranks_of(values, otherwise=3) == ranks


def test_more_ranks_than_gpus_are_refused_before_anything_stops():
    """Both numbers are told; where the count is not known, vLLM has the word."""
    with pytest.raises(TooFewGpus, match=r"takes 8 GPUs .* and the engine sees 4"):
        check_count(core(4), 8)
    check_count(core(4), 4)
    check_count(core(4, visible=0), 8)


async def test_a_plan_rests_on_what_the_workers_report():
    """The target's own parallelism and share are what is asked about; too many ranks are refused."""
    report = [{"total": 80 * GIB, "free": 40 * GIB, "held": 36 * GIB, "weights": 7 * GIB, "visible": 2}] * 2

    async def utility(method):
        assert method == "reconfigure_memory"
        return report

    cache = SimpleNamespace(gpu_memory_utilization=0.45, kv_cache_memory_bytes=None)
    running = SimpleNamespace(utility=utility, config=SimpleNamespace(cache_config=cache))
    assert (await room_beside(running, {"tensor_parallel_size": 2})).enough
    assert not (await room_beside(running, {"tensor_parallel_size": 1, "gpu_memory_utilization": 0.6})).enough
    with pytest.raises(TooFewGpus, match="takes 4 GPUs"):
        await room_beside(running, {"tensor_parallel_size": 4})
