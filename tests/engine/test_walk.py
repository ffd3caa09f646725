"""The README's walk by script: a daemon on real vLLM, a recorded workload, another objective in the middle."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from benchmarks.harness.daemon import Daemon
from benchmarks.harness.trace import trace_path
from reconfigure_daemon.errors import RequestInvalid

pytestmark = [pytest.mark.engine, pytest.mark.timeout(420)]

#: Two minutes of the trace as two cores can serve them: a share of its requests, shortened, at twice the speed.
REPLAY = (
    "--start", "5m", "--limit", "2m", "--speed", "2", "--sample", "0.1", "--max-prompt-tokens", "192",
    "--max-output-tokens", "48", "--slo-ttft", "10s", "--slo-tpot", "1s",
)  # fmt: skip


@pytest.fixture
def trace():
    try:
        return trace_path("azure_2023_conv.csv.gz")
    except RequestInvalid as absent:
        pytest.skip(str(absent))


async def reconfigure(*arguments: object) -> asyncio.subprocess.Process:
    """The command as an operator runs it."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "reconfigure_daemon", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def answer_of(command: asyncio.subprocess.Process):
    """What a command prints with `--json`; it must have done what it was asked for."""
    output, errors = await command.communicate()
    assert command.returncode == 0, errors.decode() or output.decode()
    return json.loads(output)


async def test_a_replay_ends_with_its_report_whatever_the_objective_does_meanwhile(trace, tmp_path):
    """Nothing is lost, broken or truncated while an objective moves the engine; `rollback` undoes both."""
    path = tmp_path / "report.json"
    async with Daemon("vllm", "auto") as daemon:
        at = ("--url", daemon.control_url)
        before = (await daemon.status()).engine
        replay = await reconfigure(
            "replay", trace, *REPLAY, "--url", daemon.engine_url, "--controller", daemon.control_url, "--report", path
        )
        await daemon.live(1)
        moved = await answer_of(await reconfigure("--objective", "energy", "--yes", "--json", *at))
        during = await answer_of(await reconfigure("status", "--json", *at))
        output, errors = await replay.communicate()
        back = await answer_of(await reconfigure("rollback", "--yes", "--json", *at))
        after = await answer_of(await reconfigure("status", "--json", *at))
        said = await answer_of(await reconfigure("history", "--json", *at))

    assert replay.returncode == 0, errors.decode()
    report = json.loads(path.read_text())
    counts = report["counts"]
    assert counts["completed"] == counts["sent"] == counts["planned"] > 20
    assert [counts[bad] for bad in ("lost", "broken", "truncated", "refused", "timed_out")] == [0] * 5
    assert "lost 0  broken 0  truncated 0" in output.decode()
    assert report["energy"]["energy_per_output_token_j"] > 0

    assert moved["decision"]["outcome"]["kind"] == "applied"
    assert (during["objective"], during["engine"]["enforced"]["block_size"]) == ("energy", 64)
    assert during["engine"]["deployment"]["id"] > before.deployment.id
    assert back["decision"]["outcome"]["kind"] == "applied"
    assert (after["objective"], after["engine"]["enforced"]) == ("throughput", before.enforced)
    assert after["engine"]["lost_requests"] == 0
    undone, done = [each["reason"] for each in said["decisions"] if each["source"] == "cli"]
    assert "to go back to the previous configuration and to objective throughput, as cli asked" in undone
    assert "for objective energy, as cli asked" in done
