"""What the emulated host does beyond the contract of every host: its faults, its energy, its honesty."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from math import inf

import pytest

from reconfigure_daemon import __version__
from reconfigure_daemon.emulated_engine import tokens
from reconfigure_daemon.emulated_engine.emulation import BootFailed, Emulation
from reconfigure_daemon.emulated_engine.live_engine import RECORDS_KEPT
from reconfigure_daemon.emulated_engine.serving import _stop_on_signals
from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.ports import HostPhase, SwitchMode, SwitchRequest
from reconfigure_policies.domain.energy import EnergySource
from reconfigure_policies.domain.workload import FinishReason
from tests.unit.emulated_engine.conftest import serving


async def generate(host, tokens=20):
    return [count async for count in host.engine.generate(10, tokens, (), 16, FinishReason.LENGTH)]


@asynccontextmanager
async def endless_stream(host):
    """A request that is live for as long as the test wants it."""
    stream = asyncio.create_task(generate(host, 100_000))
    while not host.engine.live_requests:  # noqa: ASYNC110  # the engine has no event for it
        await asyncio.sleep(0.001)
    yield
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)


def to(**changes):
    return SwitchRequest(configuration=changes)


async def test_it_never_claims_to_be_a_measurement(host):
    """Engine, version and energy source all say what it is."""
    state = await host.state()
    assert (state.engine, state.engine_version) == ("emulated", __version__)
    assert host.energy().source is EnergySource.ESTIMATED


async def test_energy_grows_with_time_and_with_work(host):
    """Two readings differ by idle power at least, and by more when requests ran in between."""
    first = host.energy()
    await generate(host)
    second = host.energy()
    idle_j = 121.0 * (second.at_s - first.at_s)
    assert second.energy_j - first.energy_j > idle_j + 20 * 1.6


async def test_more_devices_idle_at_more_power(host):
    """A switch to four GPUs shows in the joules at once."""
    await host.switch(to(tensor_parallel_size=4))
    first = host.energy()
    await asyncio.sleep(0.002)
    second = host.energy()
    assert (second.energy_j - first.energy_j) / (second.at_s - first.at_s) == pytest.approx(484.0)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("boot_fails", "does not support this configuration"),
        ("out_of_memory", "CUDA out of memory"),
        ("wrong_warm_up", "the warm-up generated tokens other than"),
        ("hangs", "did not answer before its deadline"),
    ],
)
@pytest.mark.parametrize("mode", [SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL, SwitchMode.DRAIN])
async def test_each_fault_is_told_and_undone(fault, words, mode):
    """The report holds the engine's own last words, a stream lives through it, and the next switch can succeed."""
    async with serving(faults=[{"when": {"block_size": 32, "max_num_seqs": 4}, "fault": fault}]) as host:
        await host.boot({})
        stream = asyncio.create_task(generate(host, 40))
        request = to(block_size=32, max_num_seqs=4).model_copy(update={"mode": mode, "deadline_s": 0.05})
        if mode is SwitchMode.DRAIN:
            await stream
        report = await host.switch(request)
        assert (report.outcome, report.enforced["block_size"]) == ("rolled_back", 16)
        assert words in report.detail
        assert (await stream)[-1] == 40
        assert (await host.switch(to(block_size=32))).outcome == "applied"


async def test_a_drain_that_takes_too_long_is_undone(host):
    """Requests that do not end in time keep their core, and those at the door are let in."""
    request = to(block_size=32).model_copy(update={"mode": SwitchMode.DRAIN, "deadline_s": 0.02})
    async with endless_stream(host):
        report = await host.switch(request)
        assert (report.outcome, report.detail) == ("rolled_back", "1 requests had not ended after 0.02 s")
        assert (await generate(host))[-1] == 20
        assert host.engine.live_requests == 1


async def test_requests_wait_out_a_drain_at_the_door(host):
    """One that comes during a drain is served by the new deployment, its wait counted in its latency."""
    stream = asyncio.create_task(generate(host, 60))
    while not host.engine.live_requests:  # noqa: ASYNC110  # the engine has no event for it
        await asyncio.sleep(0.001)
    switch = asyncio.create_task(host.switch(to(block_size=32).model_copy(update={"mode": SwitchMode.DRAIN})))
    await asyncio.sleep(0)
    late = asyncio.create_task(generate(host))
    await switch
    assert (await stream)[-1] == 60
    assert (await late)[-1] == 20
    first, second = (await host.telemetry(0)).records
    assert second.arrived_s + second.ttft_s > first.arrived_s + first.e2e_latency_s


async def test_without_room_beside_the_streams_stand_still_for_the_boot():
    """`auto` then chooses sequential, and the stall is the boot; with room it is the cut alone."""
    stalls_s = {}
    for room in (True, False):
        async with serving(room_beside=room, boot_s=0.05, stall_base_s=0.001) as host:
            await host.boot({})
            async with endless_stream(host):
                report = await host.switch(to(block_size=32))
                stalls_s[report.mode] = max(report.stall_s)
                await generate(host)
            _, record = (await host.telemetry(0)).records
            assert record.finish_reason is FinishReason.ABORT
            assert record.replays == 1
            assert record.longest_gap_s >= max(report.stall_s) - 0.002
    assert stalls_s[SwitchMode.OVERLAPPED] == pytest.approx(0.0016)
    assert stalls_s[SwitchMode.SEQUENTIAL] >= 0.05


async def test_records_that_nobody_read_are_counted_as_dropped(host):
    """A controller that was away for long learns how much it missed."""
    for _ in range(3):
        await generate(host, 1)
    host.engine._recorded += 10  # as if ten older ones had been overwritten
    batch = await host.telemetry(4)
    assert (batch.dropped, len(batch.records), batch.next_after) == (6, 3, 13)
    assert (await host.telemetry(10**9)).records == []
    assert host.engine._records.maxlen == RECORDS_KEPT


async def test_a_first_boot_that_fails_says_why():
    """There is no old deployment to go back to."""
    async with serving(faults=[{"when": {}, "fault": "boot_fails"}]) as host:
        with pytest.raises(BootFailed, match="does not support"):
            await host.boot({})
        state = await host.state()
        assert (state.phase, state.deployment, state.enforced) == (HostPhase.BOOTING, None, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Invalid JSON"),
        ('{"boot": 1}', "boot: "),
        ('{"faults": [{"when": {}, "fault": "fire"}]}', "faults.0.fault"),
    ],
)
def test_a_wrong_emulation_is_told_by_field(text, words):
    """A misspelt control of a test is refused, not ignored."""
    with pytest.raises(SettingsInvalid, match="environment variable EMULATED_ENGINE") as refused:
        Emulation.from_environment({"EMULATED_ENGINE": text})
    assert words in str(refused.value)
    assert Emulation.from_environment({}) == Emulation()


def run_process(tmp_path, config, initial="{}", **environ):
    (tmp_path / "config.yaml").write_text(config)
    command = [sys.executable, "-m", "reconfigure_daemon.emulated_engine", "--initial", initial]
    command += ["--config", str(tmp_path / "config.yaml"), "--runtime", str(tmp_path / "run")]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("initial", "environ", "words"),
    [
        ('{"block_size": 17}', {}, "ConfigurationOutsideSpace: block_size=17 is outside the space; allowed: 16"),
        ("{}", {"EMULATED_ENGINE": "x"}, "SettingsInvalid: environment variable EMULATED_ENGINE"),
        ("{}", {"RECONFIGURE_ENGINE__HOST": "192.0.2.1"}, "EngineUnavailable: the engine cannot listen on 192.0.2.1:"),
    ],
)
def test_a_start_that_cannot_be_ends_with_one_line(tmp_path, initial, environ, words):
    """Exit code 1, what was found and what is allowed, no traceback."""
    config = "engine: {kind: emulated, port: 39217}\nspace: {block_size: {values: [16]}}\n"
    ended = run_process(tmp_path, config, initial, **environ)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert words in line


async def test_a_signal_in_the_middle_of_a_switch_is_not_lost(host):
    """The host stops once the switch has ended; a second signal does not wait for that."""
    loop = asyncio.get_running_loop()
    _stop_on_signals(host, 5.0)
    try:
        started = asyncio.Event()
        switch = asyncio.create_task(host.switch(to(block_size=32), lambda _: started.set()))
        await started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            assert (await switch).outcome == "applied"
            await host.stopped.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def test_a_second_signal_ends_the_host_at_once(host):
    """Whatever still runs."""
    loop = asyncio.get_running_loop()
    _stop_on_signals(host, 60.0)
    try:
        async with endless_stream(host):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.01)
            assert not host.stopped.is_set()
            os.kill(os.getpid(), signal.SIGINT)
            async with asyncio.timeout(5):
                await host.stopped.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def test_words_read_back_as_the_tokens_they_were():
    """A client that sends an answer back as a prompt sends the same tokens; any other word is some token."""
    ids = [0, 7, 31_999]
    assert tokens.encode(tokens.decode(ids)) == ids
    assert all(0 <= token < tokens.VOCABULARY_SIZE for token in tokens.encode("t32000 t t-1 tea é t٣"))


def test_a_block_stands_for_its_whole_prefix():
    """Equal blocks after different beginnings have different hashes; an unfilled block has none."""
    one, other = tokens.block_hashes([1, 2, 3, 4, 5], 2), tokens.block_hashes([9, 2, 3, 4, 5], 2)
    assert len(one) == len(set(one + other)) - len(other) == 2
    assert tokens.block_hashes([1, 2, 3, 4, 9, 9], 2)[:2] == one


def test_nothing_happens_in_an_idle_engine(host):
    """It sleeps until it is woken."""
    assert host.engine.scheduler.next_event_s() == inf
