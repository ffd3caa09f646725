"""A benchmark's daemon serves, survives its controller, and leaves nothing behind."""

import shutil
import socket

import psutil
import pytest

from benchmarks.harness.daemon import Daemon, applied
from benchmarks.harness.processes import ServerFailed
from benchmarks.harness.streams import equal_requests, failures, running_streams


def runs(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_daemon_serves_is_killed_adopts_and_ends():
    """Streams flow, a knob changes, another controller finds the same engine, and all processes end."""
    async with Daemon("emulated", "auto") as daemon:
        before = await daemon.host()
        async with running_streams(equal_requests(3, 8, 4), await daemon.target(), to_the_end=True) as streams:
            result = await daemon.apply({"max_num_seqs": 8})
        assert applied(result)
        assert result.decision.outcome.enforced["max_num_seqs"] == 8
        assert failures(streams.results) == []
        assert [result.output_tokens for result in streams.results] == [4, 4, 4]

        daemon.controller.kill()
        daemon.start_controller()
        await daemon.ready()
        assert (await daemon.host()).host_id == before.host_id
        pids = [daemon.controller.pid, before.pid]
    assert not any(runs(pid) for pid in pids)
    assert not daemon.folder.exists()


async def test_a_refused_intent_is_told_in_the_daemons_words():
    """A value outside the space ends the benchmark with the daemon's own sentence."""
    async with Daemon("emulated", "auto") as daemon:
        with pytest.raises(ServerFailed, match="max_num_seqs"):
            await daemon.apply({"max_num_seqs": 3})


async def test_a_daemon_that_ends_early_tells_why():
    """The last words of its log are in the error, and the log is kept."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = Daemon("emulated", "auto", {"control_api": {"port": taken.getsockname()[1]}})
        with pytest.raises(ServerFailed, match=r"the daemon ended.*\n.*another program listens"):
            async with daemon:
                pass
    assert (daemon.folder / "controller.log").exists()
    shutil.rmtree(daemon.folder)
