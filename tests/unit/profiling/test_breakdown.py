"""Every instant is put down to one kind, whatever overlaps and nests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.profiling.breakdown import break_down
from reconfigure_daemon.profiling.kinds import Kind, kind_of
from reconfigure_daemon.profiling.trace import TraceUnreadable, trace_of
from tests.unit.profiling.traces import FLASH, GEMM, NCCL, NORM, cpu_trace, event, gpu_trace, kernel


def microseconds(breakdown):
    return {kind.value: pytest.approx(1e6 * s, abs=1e-6) for kind, s in breakdown.seconds.items()}


def test_a_gpus_time_is_what_its_kernels_do():
    """Communication and copies count only where nothing hides them; the rest of the time is idle."""
    [found] = break_down(trace_of(gpu_trace()))
    assert found.device == "GPU 0"
    assert microseconds(found) == {"gemm": 30, "attention": 10, "collective": 15, "other": 10, "copy": 0, "idle": 35}
    assert [(named.name, named.calls) for named in found.top[:2]] == [(GEMM, 2), (NCCL, 2)]


def test_each_gpu_has_its_own_breakdown():
    """A worker that drives two devices shows both, over the same time."""
    first, second = break_down(trace_of([*gpu_trace(), kernel(GEMM, 0, 100, device=1)]))
    assert (second.device, second.share(Kind.GEMM), second.share(Kind.IDLE)) == ("GPU 1", 1, 0)
    assert first.span_s == second.span_s


def test_a_processors_time_is_its_busiest_threads():
    """The outermost operator of a known kind stands for what is inside it; a nameless one gives its time on."""
    [found] = break_down(trace_of(cpu_trace()))
    assert found.device == "CPU"
    assert microseconds(found) == {"gemm": 24, "attention": 10, "collective": 0, "other": 6, "copy": 0, "idle": 10}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (GEMM, Kind.GEMM),
        (FLASH, Kind.ATTENTION),
        (NCCL, Kind.COLLECTIVE),
        (NORM, Kind.OTHER),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", Kind.GEMM),
        ("void cutlass::device_kernel<at::cuda::detail::enable_3x_kernel_for_sm9x>", Kind.GEMM),
        ("void gemv2T_kernel_val<int, int, __nv_bfloat16>", Kind.GEMM),
        ("void marlin::Marlin<nv_bfloat16, 1125899907892224l>", Kind.GEMM),
        ("aten::_scaled_mm", Kind.GEMM),
        ("aten::mm", Kind.GEMM),
        ("_C::onednn_mm", Kind.GEMM),
        ("fused_moe_kernel", Kind.GEMM),
        ("void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16>", Kind.ATTENTION),
        ("BatchDecodeWithPagedKVCacheKernel", Kind.ATTENTION),
        ("_C::cpu_attention_with_kv_cache", Kind.ATTENTION),
        ("aten::scaled_dot_product_attention", Kind.ATTENTION),
        ("kernel_unified_attention_2d", Kind.ATTENTION),
        ("void vllm::cross_device_reduce_1stage<__nv_bfloat16, 4>", Kind.COLLECTIVE),
        ("void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport", Kind.COLLECTIVE),
        ("ncclDevKernel_AllGather_RING_LL", Kind.COLLECTIVE),
        ("multimem_all_reduce_kernel", Kind.COLLECTIVE),
        ("c10d::allreduce_", Kind.COLLECTIVE),
        ("triton_red_fused_add_mean_mul_pow_rsqrt_0", Kind.OTHER),
        ("void at::native::vectorized_elementwise_kernel<4>", Kind.OTHER),
        ("aten::comma_separated", Kind.OTHER),
        ("void vllm::act_and_mul_kernel<c10::BFloat16>", Kind.OTHER),
        ("aten::argmax", Kind.OTHER),
    ],
)
def test_a_name_tells_what_it_is_for(name, kind):
    """Kernels of cuBLAS, CUTLASS, FlashAttention, FlashInfer, NCCL and vLLM, and operators of a processor."""
    assert kind_of(name) is kind


KERNELS = st.lists(
    st.tuples(
        st.sampled_from([GEMM, FLASH, NCCL, NORM, "copy"]), st.integers(0, 1000), st.integers(0, 200), st.integers(0, 3)
    ),
    min_size=1,
)


@given(kernels=KERNELS)
def test_the_kinds_together_are_the_whole_time(kernels):
    """However kernels overlap, nothing is counted twice and nothing is lost."""
    events = [
        event(name, ts, dur, "gpu_memset" if name == "copy" else "kernel", 0, stream)
        for name, ts, dur, stream in kernels
    ]
    [found] = break_down(trace_of(events))
    assert sum(found.seconds.values()) == pytest.approx(found.span_s, abs=1e-9)
    assert all(seconds >= 0 for seconds in found.seconds.values())
    busy = {ts + step for _, ts, dur, _ in kernels for step in range(dur)}
    assert 1e6 * (found.span_s - found.seconds[Kind.IDLE]) == pytest.approx(len(busy), abs=1e-3)


def test_a_trace_of_nothing_is_no_profile():
    """It says that nothing ran."""
    with pytest.raises(TraceUnreadable, match="nothing ran while it was recorded"):
        trace_of([event("PyTorch Profiler (0)", 0, 100, "Trace")])
