"""CUDA_VISIBLE_DEVICES is read as CUDA reads it."""

from __future__ import annotations

import pytest

from reconfigure_daemon.metering.gpu_selection import ordering_notice, visible_gpus

UUIDS = ["GPU-aa11", "GPU-aa22", "GPU-bb33"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (0, 1, 2)),
        ("", ()),
        ("2,0", (2, 0)),
        (" 1 , 2 ", (1, 2)),
        ("1,1", (1,)),
        ("0,-1,2", (0,)),
        ("0,7,2", (0,)),
        ("GPU-bb33", (2,)),
        ("GPU-bb", (2,)),
        ("GPU-aa", ()),
        ("GPU-cc,0", ()),
        ("NoDevFiles", ()),
    ],
)
def test_entries_up_to_the_first_that_names_no_gpu(visible: str | None, expected: tuple[int, ...]) -> None:
    """Indices and unambiguous UUID prefixes choose GPUs; the first invalid entry ends the list."""
    assert visible_gpus(UUIDS, visible) == expected


@pytest.mark.parametrize(
    ("names", "environ", "warned"),
    [
        (["A", "B"], {"CUDA_VISIBLE_DEVICES": "0"}, True),
        (["A", "A"], {"CUDA_VISIBLE_DEVICES": "0"}, False),
        (["A", "B"], {"CUDA_VISIBLE_DEVICES": "GPU-aa11"}, False),
        (["A", "B"], {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, False),
        (["A", "B"], {}, False),
    ],
)
def test_order_is_doubted_only_where_it_matters(names: list[str], environ: dict[str, str], warned: bool) -> None:
    """Only indices into unlike GPUs without a fixed order are ambiguous."""
    assert (ordering_notice(names, environ) is not None) is warned
