"""Which GPUs are the daemon's: what CUDA_VISIBLE_DEVICES leaves, read as CUDA reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def visible_gpus(uuids: Sequence[str], visible: str | None) -> tuple[int, ...]:
    """Indices of the GPUs that CUDA_VISIBLE_DEVICES leaves visible, each once, in its order.

    Args:
        uuids: every GPU's UUID in the driver's order; "" for one that does not tell.
        visible: the variable's value, None where it is not set. Entries are indices or (starts of) UUIDs; as in
            CUDA, the first entry that names no GPU hides itself and everything after it.
    """
    if visible is None:
        return tuple(range(len(uuids)))
    chosen: dict[int, None] = {}
    for entry in visible.split(","):
        index = _index_of(entry.strip(), uuids)
        if index is None:
            break
        chosen[index] = None
    return tuple(chosen)


def _index_of(entry: str, uuids: Sequence[str]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    matches = [index for index, uuid in enumerate(uuids) if uuid.startswith(entry)] if entry.startswith("GPU-") else []
    return matches[0] if len(matches) == 1 else None


def ordering_notice(names: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """A warning where CUDA's indices may mean other GPUs than the driver's: unlike GPUs, fastest first."""
    by_index = any(entry.strip().isdecimal() for entry in environ.get("CUDA_VISIBLE_DEVICES", "").split(","))
    if not by_index or len(set(names)) < 2 or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return None
    return (
        "The GPUs differ and CUDA_VISIBLE_DEVICES names them by index, so CUDA may count them in another order than "
        "the driver and the wrong ones would be metered; set CUDA_DEVICE_ORDER=PCI_BUS_ID or name them by UUID."
    )
