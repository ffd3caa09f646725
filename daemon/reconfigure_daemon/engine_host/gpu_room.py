"""What a new core would need of each GPU, and find there, beside the old one; pure arithmetic on what workers report.

vLLM gives rank `r` of every core the `r`-th visible GPU. A new core with fewer ranks thus shares the first GPUs of the
old one, and holds a larger part of the weights on each; one with more ranks takes the next GPUs, on which nobody of
ours runs, and a smaller part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconfigure_policies.domain.configuration import KnobValue
from reconfigure_policies.domain.parallelism import (
    DATA_PARALLEL,
    PIPELINE_PARALLEL,
    TENSOR_PARALLEL,
    ranks_of_replica,
    replicas_of,
)

MARGIN_BYTES = 2 * 2**30  # CUDA context, graphs and activations that a core does not report as held


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One worker of the running core and its GPU, in bytes.

    Attributes:
        total, free: of the GPU.
        held: by this worker.
        weights: of these; 0 where it is not known.
        visible: how many GPUs the worker sees; 0 where it is not known.
    """

    total: int
    free: int
    held: int
    weights: int = 0
    visible: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """Memory for a second core: bytes free and bytes needed on the tightest device."""

    free: int
    needed: int

    @property
    def enough(self) -> bool:
        """Whether it fits."""
        return self.free >= self.needed

    def __str__(self) -> str:
        return f"{self.free / 2**30:.1f} GiB free, {self.needed / 2**30:.1f} GiB needed for a second core"


class TooFewGpus(ValueError):
    """A configuration has more ranks than there are GPUs; the message has both numbers."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """How a core is spread over GPUs.

    Attributes:
        of_replica: GPUs that share the weights of one replica.
        replicas: each with all of the weights.
    """

    of_replica: int
    replicas: int = 1

    @classmethod
    def of(cls, values: Mapping[str, KnobValue]) -> Ranks:
        """Those of a configuration, or of vLLM's settings of the same names."""
        return cls(ranks_of_replica(values), replicas_of(values))

    @property
    def gpus(self) -> int:
        """That it takes."""
        return self.of_replica * self.replicas


def check_count(uses: Sequence[GpuUse], ranks: Ranks) -> None:
    """Refuse what would only fail after a boot, for which a sequential switch stops the old core.

    Raises:
        TooFewGpus: if there are fewer GPUs than ranks.
    """
    visible = max((use.visible for use in uses), default=0)
    if visible and ranks.gpus > visible:
        sizes = " x ".join([TENSOR_PARALLEL, PIPELINE_PARALLEL, *([DATA_PARALLEL] if ranks.replicas > 1 else [])])
        raise TooFewGpus(
            f"this configuration takes {ranks.gpus} GPUs ({sizes}) and the engine sees {visible}; choose fewer, or "
            "start it with more in CUDA_VISIBLE_DEVICES"
        )


def room_on_gpus(uses: Sequence[GpuUse], running: Ranks, ranks: Ranks, utilisation: float, kv_is_fixed: bool) -> Room:
    """Room for a core of so many ranks on the tightest of its GPUs.

    Args:
        uses: the running core's workers, by rank.
        running: how it is spread.
        ranks: of the new core.
        utilisation: share of each GPU that it takes, which vLLM wants to be free when it boots.
        kv_is_fixed: whether its KV cache has a given size, rather than what the share leaves.
    """
    weights = sum(use.weights for use in uses) // running.replicas // ranks.of_replica
    rooms = [_room(uses, rank, weights, utilisation, kv_is_fixed) for rank in range(ranks.gpus)]
    return min(rooms, key=lambda room: room.free - room.needed)


def _room(uses: Sequence[GpuUse], rank: int, weights: int, utilisation: float, kv_is_fixed: bool) -> Room:
    """A GPU on which none of our workers runs is taken to be empty: it is the daemon's, and idle."""
    alike = uses[min(rank, len(uses) - 1)]
    total, free = alike.total, alike.free if rank < len(uses) else alike.total
    held = max(use.held - use.weights for use in uses) + weights
    share = int(utilisation * total)
    if kv_is_fixed:
        return Room(free, held + MARGIN_BYTES)
    return Room(free, max(share, min(held, max(share, alike.held)) + MARGIN_BYTES))
