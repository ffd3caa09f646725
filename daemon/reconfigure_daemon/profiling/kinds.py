"""What a kernel or operator is for, judged by its name."""

from __future__ import annotations

import re
from enum import StrEnum


class Kind(StrEnum):
    """What time goes into."""

    GEMM = "gemm"
    ATTENTION = "attention"
    COLLECTIVE = "collective"
    OTHER = "other"
    COPY = "copy"
    IDLE = "idle"


#: The first that matches decides: a fused all-reduce that names a GEMM waits for the others all the same, and an
#: attention kernel is written with the parts of a matrix multiplication.
_NAMES = (
    (
        Kind.COLLECTIVE,
        re.compile(
            r"nccl|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast_?(coalesced|kernel)?\b.*c10d|c10d::"
            r"|cross_device|one_?shot|two_?shot|multimem|custom_ar|shm_(gather|all)|vllm::all_",
            re.IGNORECASE,
        ),
    ),
    (
        Kind.ATTENTION,
        re.compile(
            r"attention|attn|flash|fmha|paged|flashinfer|batch_?(prefill|decode)|mla_|_mla|reshape_and_cache"
            r"|kv_?cache|merge_attn|scaled_dot_product",
            re.IGNORECASE,
        ),
    ),
    (
        Kind.GEMM,
        re.compile(
            r"gemm|gemv|cutlass|cublas|nvjet|wgmma|marlin|splitk|matmul|linear|bmm|addmm|baddbmm|scaled_mm|triton_mm"
            r"|(^|[^a-z])mm($|[^a-z])|dot_kernel|onednn|mkldnn|moe.*(expert|fused)|fused_moe|grouped_mm",
            re.IGNORECASE,
        ),
    ),
)

#: Operators that only stand for others, or hold a whole step.
_HOLLOW = re.compile(r"^(vllm::(moe_forward|.*forward)|Torch-Compiled Region|## Call)", re.IGNORECASE)


def kind_of(name: str) -> Kind:
    """The kind of a kernel or operator; `other` for norms, activations, sampling and whatever else there is."""
    if _HOLLOW.search(name):
        return Kind.OTHER
    return next((kind for kind, pattern in _NAMES if pattern.search(name)), Kind.OTHER)
