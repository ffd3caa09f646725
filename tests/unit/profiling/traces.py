"""Traces in the shape that torch records on a GPU and on a processor, small enough to be worked out by hand."""

from __future__ import annotations

from typing import Any

GEMM = "nvjet_tst_192x128_64x4_2x1_v_bz_coopB_TNN"
FLASH = "void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4>>(Flash_fwd_params)"
NCCL = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
NORM = "void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(c10::BFloat16*, long)"


def event(name: str, ts: float, dur: float, cat: str, pid: object = 0, tid: object = 7, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, **more}


def kernel(name: str, ts: float, dur: float, device: int = 0, stream: int = 7) -> dict[str, Any]:
    return event(name, ts, dur, "kernel", device, stream, args={"device": device, "stream": stream})


def gpu_trace() -> list[dict[str, Any]]:
    """100 us: two layers; the second all-reduce half hides behind a norm, and a copy hides behind a GEMM."""
    return [
        {"ph": "M", "name": "process_name", "pid": 0, "tid": 0, "args": {"name": "python"}},
        event("PyTorch Profiler (0)", 0, 100, "Trace", "Spans", "PyTorch Profiler"),
        event("aten::mm", 0, 5, "cpu_op", 4242, 4242),
        event("cudaLaunchKernel", 2, 1, "cuda_runtime", 4242, 4242),
        kernel(GEMM, 10, 20),
        kernel(FLASH, 30, 10),
        kernel(NCCL, 40, 10),
        kernel(GEMM, 60, 10),
        event("Memcpy HtoD (Pinned -> Device)", 62, 4, "gpu_memcpy", 0, 20),
        kernel(NCCL, 70, 10, stream=13),
        kernel(NORM, 75, 10),
        {"ph": "s", "cat": "ac2g", "id": 1, "pid": 4242, "tid": 4242, "ts": 2},
    ]


def cpu_trace() -> list[dict[str, Any]]:
    """50 us of one thread with nested operators, and another thread that does little."""
    return [
        event("PyTorch Profiler (0)", 0, 50, "Trace", "Spans", "PyTorch Profiler"),
        event("execute_context_0(0)_generation_3(3)", 0, 48, "user_annotation", 1, 1),
        event("aten::linear", 0, 20, "cpu_op", 1, 1),
        event("aten::addmm", 1, 18, "cpu_op", 1, 1),
        event("aten::copy_", 2, 3, "cpu_op", 1, 1),
        event("vllm::unified_attention_with_output", 20, 10, "cpu_op", 1, 1),
        event("aten::mm", 22, 5, "cpu_op", 1, 1),
        event("vllm::my_forward", 30, 10, "cpu_op", 1, 1),
        event("aten::bmm", 31, 4, "cpu_op", 1, 1),
        event("aten::add", 3, 30, "cpu_op", 1, 2),
    ]
