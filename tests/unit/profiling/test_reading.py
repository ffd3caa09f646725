"""Traces are read in a process of their own; what cannot be read is told."""

from __future__ import annotations

import gzip
import json

import pytest

from reconfigure_daemon.actuation.profile_reader import read_profiles
from reconfigure_daemon.errors import EngineHostFault
from tests.unit.profiling.traces import cpu_trace, gpu_trace


async def test_traces_become_profiles_plain_or_gzipped(tmp_path):
    """One for each device, each with the file that it is from."""
    plain, zipped = tmp_path / "rank0.pt.trace.json", tmp_path / "rank1.pt.trace.json.gz"
    plain.write_text(json.dumps({"schemaVersion": 1, "traceEvents": gpu_trace()}))
    zipped.write_bytes(gzip.compress(json.dumps({"traceEvents": cpu_trace()}).encode()))
    gpu, cpu = await read_profiles([str(plain), str(zipped)])
    assert (gpu.device, gpu.trace, round(gpu.share("gemm"), 3)) == ("GPU 0", str(plain), 0.3)
    assert (cpu.device, cpu.trace, cpu.top[0].name) == ("CPU", str(zipped), "aten::linear")


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"traceEvents": 3}', b"\x1f\x8bxx", b'{"traceEvents": [{"ph": "X"}]}']
)
async def test_what_is_no_trace_is_named(tmp_path, content):
    """The file is in the sentence, and there is no traceback."""
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(EngineHostFault, match=r"broken\.json is no trace of torch's profiler") as fault:
        await read_profiles([str(path)])
    assert "Traceback" not in str(fault.value)
