"""What the slices of a recorded workload come to, and what is not added up."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

import pytest

from benchmarks.gpu.server import model_folder
from benchmarks.gpu.trace import Slice, added_up, minutes_between, name_of, part_in, rows_of
from benchmarks.harness.machine import GpusMissing, gpus
from benchmarks.harness.requests import Span
from reconfigure_daemon.errors import RequestInvalid

CONVERSATIONS = Namespace(
    trace="azure_2023_conv.csv.gz", ttft=1.0, warm_up=60.0, slice=150.0, block_size=16, tpot=[0.2], add_to=[],
    **{"with": []},
)  # fmt: skip


def slice_of(number, tpot_limit_s, joules_per_token, tokens=1000, good=10, failed=0):
    seen = Span(tokens, 10, good, failed, 0.04 if good else None, 0.1, 0.03, 0.04)
    return Slice(number, tpot_limit_s, joules_per_token, 300.0, [joules_per_token], seen, "2026-11-29T00:00:00+00:00")


def by_name(rows):
    return {row.what.partition(": ")[2].partition(",")[0]: row for row in rows}


def test_a_slice_that_only_the_daemon_did_not_answer_counts():
    """Its joules bought nothing, its requests were lost, and the row says so."""
    served = [slice_of(n, limit, joules) for n in range(2) for limit, joules in ((None, 0.5), (0.2, 0.2))]
    dead = [slice_of(2, None, 0.5), slice_of(2, 0.2, 20_000.0, tokens=0, good=0, failed=10)]
    rows = rows_of("azure_2023_conv", 0.2, [*served, *dead])
    assert [row.value for row in rows if "highest pair" in row.what] == [40_000]
    assert [row.value for row in rows if "requests failed" in row.what] == [10]
    assert [row.met for row in rows if "SLO attainment of 30 requests" in row.what] == [False]


def test_a_slice_in_which_nobody_asked_counts_for_neither():
    """It has no joules per token."""
    served = [slice_of(0, None, 0.5), slice_of(0, 0.2, 0.2)]
    silent = [slice_of(1, None, 9_000.0, tokens=0), slice_of(1, 0.2, 8_000.0, tokens=0)]
    assert rows_of("azure_2023_conv", 0.2, [*served, *silent]) == rows_of("azure_2023_conv", 0.2, served)


@pytest.mark.parametrize(
    ("from_s", "to_s", "begins"),
    [(60, 150, [60, 90]), (30, 150, [30, 90]), (30, 120, [30, 60]), (0, 59, []), (20, 80, [20])],
)
def test_every_second_of_a_slice_is_in_a_minute(from_s, to_s, begins):
    """The last one overlaps where it has to."""
    assert minutes_between(from_s, to_s) == begins


@pytest.mark.parametrize(
    ("further", "name"),
    [
        ([], "gpu.trace"),
        (["quantization=fp8", "kv_cache_dtype=fp8"], "gpu.trace_fp8"),
        (["quantization=fp8"], "gpu.trace_quantization_fp8"),
    ],
)
def test_what_is_compared_names_the_result(further, name):
    """Half of fp8 is another result than all of it."""
    assert name_of(Namespace(trace="azure_2023_conv.csv.gz", **{"with": further})) == name


def part(folder, **arguments):
    slices = [asdict(slice_of(0, None, 0.5)), asdict(slice_of(0, 0.2, 0.2))]
    given = {**vars(CONVERSATIONS), "rounds": 1, **arguments}
    path = folder / "part.json"
    origin = {"date": "2026-11-29", "commit": {"id": "0123456789", "dirty": False}}
    details = {"energy_source": "measured", "slices": slices}
    path.write_text(json.dumps({"details": details, "arguments": given, "machine": {}, "versions": {}, **origin}))
    return path


def test_parts_are_added_up(tmp_path):
    """Their slices count as if they had been measured at once."""
    path = part(tmp_path)
    found = added_up([part_in(path)], [slice_of(0, None, 0.5), slice_of(0, 0.2, 0.2)], with_parts(path))
    assert found.rows[0].value == pytest.approx(0.4)


def test_parts_that_measured_something_else_are_refused(tmp_path):
    """In words that name the file and the difference."""
    path = part(tmp_path, ttft=2.0)
    with pytest.raises(RequestInvalid, match=r"part\.json was measured with ttft 2\.0 and not 1\.0"):
        added_up([part_in(path)], [], with_parts(path))


def with_parts(path):
    return Namespace(**{**vars(CONVERSATIONS), "add_to": [path]})


@pytest.mark.parametrize("content", [None, "3", "{", json.dumps({"details": {"slices": [{}]}})])
def test_what_is_no_part_is_refused(tmp_path, content):
    """In one sentence that names the file."""
    path = tmp_path / "some.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RequestInvalid, match=r"--add-to .*some\.json"):
        part_in(path)


@pytest.mark.skipif(bool(gpus()), reason="there is a GPU")
def test_vllm_without_a_gpu_is_refused(tmp_path):
    """A model of 7 billion parameters is not booted on a processor, and no result of one overwritten."""
    with pytest.raises(GpusMissing, match="an NVIDIA GPU is needed; this machine has none"):
        model_folder("vllm", tmp_path)
    assert model_folder("emulated", tmp_path) == "auto"
