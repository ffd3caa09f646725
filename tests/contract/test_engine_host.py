"""What every engine host does, whichever it is and however it is reached.

A host is added by a factory in `HOSTS`: an async context manager that yields a `Subject` that serves.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from reconfigure_daemon import private_socket
from reconfigure_daemon.actuation.client import PrivateSocketClient
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_daemon.emulated_engine.host import EmulatedHost
from reconfigure_daemon.emulated_engine.model import EngineModel
from reconfigure_daemon.emulated_engine.openai_api import openai_application
from reconfigure_daemon.errors import ActionInProgress, EngineHostFault
from reconfigure_daemon.ports import EngineHost, HostPhase, SwitchMode, SwitchRequest
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import ConfigurationOutsideSpace
from reconfigure_policies.domain.workload import FinishReason
from tests.engine.real_host import MODEL, SPACE


@dataclass
class Subject:
    """A host that serves, and what to ask of it.

    Attributes:
        host: the port.
        settings: what it was started with.
        hot, cold: changes of one knob each, both unlike the start.
        failing: a cold change whose deployment cannot boot.
        deadline_s: ample for a switch.
        stream_tokens: of a stream that outlives an overlapped switch.
        model: what clients call it.
    """

    host: EngineHost
    settings: Settings
    hot: Mapping[str, object]
    cold: Mapping[str, object]
    failing: Mapping[str, object]
    deadline_s: float
    stream_tokens: int
    model: str

    async def switch(self, changes, on_progress=None, **fields):
        start = self.settings.configuration_space().default()
        configuration = dict(start.with_changes(changes))
        request = SwitchRequest(configuration=configuration, **{"deadline_s": self.deadline_s, **fields})
        return await self.host.switch(request, on_progress)

    async def generate(self, prompt, tokens):
        """Token ids of a greedy completion of a forced length, and how it ended, as a client sees them."""
        state = await self.host.state()
        body = {"model": self.model, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
        body |= {"stream": True, "return_token_ids": True}
        output, reason = [], None
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.post(f"{state.openai_url}/v1/completions", json=body) as response,
        ):
            async for line in response.content:
                if line.startswith(b"data: {"):
                    choice = json.loads(line[6:])["choices"][0]
                    output += choice["token_ids"] or []
                    reason = choice["finish_reason"]
        return output, reason

    async def live(self, requests):
        """Returns once this many requests are live."""
        while (await self.host.state()).live_requests < requests:  # noqa: ASYNC110  # the port has no event for it
            await asyncio.sleep(0.001)

    async def generated(self):
        """Output tokens so far, of all requests."""
        return (await self.host.telemetry(0)).totals.output_tokens


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def emulated(tmp_path):
    settings = Settings.model_validate(
        {
            "engine": {"kind": "emulated", "port": free_port()},
            "space": {
                "max_num_seqs": {"values": [4, 16, 64], "default": 16},
                "pacing_interval_s": {"values": [0.0, 0.02]},
                "block_size": {"values": [16, 32, 64]},
            },
        }
    )
    emulation = Emulation.model_validate(
        {"boot_s": 0.02, "faults": [{"when": {"block_size": 64}, "fault": "out_of_memory"}]}
    )
    fast = EngineModel(step_overhead_s=0.0002, weight_read_s=0.0008)
    host = EmulatedHost(settings, SystemClock(), emulation, fast)
    time_passing = asyncio.create_task(host.engine.run())
    runner = aiohttp.web.AppRunner(openai_application(host), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", settings.engine.port).start()
    await host.boot({})
    yield Subject(
        host,
        settings,
        {"max_num_seqs": 4},
        {"block_size": 32},
        {"block_size": 64},
        5.0,
        500,
        (await host.state()).model,
    )
    await runner.cleanup()
    time_passing.cancel()
    await asyncio.gather(time_passing, return_exceptions=True)


@asynccontextmanager
async def emulated_through_the_socket(tmp_path):
    path = tmp_path / "engine-host.sock"
    async with emulated(tmp_path) as subject:
        runner = await private_socket.serve(subject.host, path)
        client = PrivateSocketClient(path)
        subject.host = client
        yield subject
        await client.close()
        await runner.cleanup()


@asynccontextmanager
async def real_vllm(engine):
    """One process for all tests: what a test has left in force is where the next one starts from."""
    client = PrivateSocketClient(engine.serving().socket, answer_timeout_s=120)
    start = (await client.state()).enforced
    space = {name: {**knob, "default": start[name]} for name, knob in SPACE.items()}
    settings = Settings.model_validate({"space": space})
    hot = {"max_num_seqs": next(value for value in (4, 8) if value != start["max_num_seqs"])}
    cold = {"block_size": await engine.serving().other_block_size()}
    yield Subject(client, settings, hot, cold, {"kv_cache_memory_bytes": 2**50}, 120.0, 350, MODEL)
    await client.close()


HOSTS = [
    pytest.param((emulated, "tmp_path"), id="emulated"),
    pytest.param((emulated_through_the_socket, "tmp_path"), id="emulated_through_the_socket"),
    pytest.param((real_vllm, "real_engine"), id="real_vllm", marks=pytest.mark.engine),
]


@pytest.fixture(params=HOSTS)
async def subject(request):
    factory, stands_on = request.param
    async with factory(request.getfixturevalue(stands_on)) as subject:
        yield subject


async def test_a_serving_host_tells_what_it_enforces(subject):
    """Every knob of the space is read back, equal to what was asked, and no action runs."""
    state = await subject.host.state()
    assert state.phase is HostPhase.SERVING
    assert state.enforced == state.target == dict(subject.settings.configuration_space().default())
    assert state.action is None
    assert state.deployment is not None
    assert state.lost_requests == state.core_restarts == 0
    assert (await subject.host.state()).host_id == state.host_id


async def test_a_hot_knob_changes_inside_the_running_core(subject):
    """The answer holds the value read back, and the deployment stays."""
    before = await subject.host.state()
    result = await subject.host.set_knobs(subject.hot)
    after = await subject.host.state()
    assert result.enforced == result.target == after.enforced == before.enforced | subject.hot
    assert result.latency_s >= 0
    assert after.deployment == before.deployment


@pytest.mark.parametrize("changes", [{"no_such_knob": 1}, {"max_num_seqs": 5}, {"max_num_seqs": 4, "pacing": 0.1}])
async def test_knobs_outside_the_space_change_nothing(subject, changes):
    """Unknown knobs and values are refused by name, valid ones beside them included."""
    before = await subject.host.state()
    with pytest.raises(ConfigurationOutsideSpace) as refused:
        await subject.host.set_knobs(changes)
    assert len(refused.value.faults) == 1
    with pytest.raises(ConfigurationOutsideSpace):
        await subject.switch(changes)
    assert (await subject.host.state()).enforced == before.enforced


async def test_a_cold_knob_is_no_hot_change(subject):
    """It is refused by name, with the way that leads there."""
    with pytest.raises(EngineHostFault, match=next(iter(subject.cold))):
        await subject.host.set_knobs(subject.cold)


@pytest.mark.parametrize("mode", [SwitchMode.AUTO, SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL, SwitchMode.DRAIN])
async def test_a_switch_makes_a_new_deployment(subject, mode):
    """Progress comes in order, the report holds what is enforced, and the mode that was used."""
    before, steps = await subject.host.state(), []
    report = await subject.switch(subject.cold | subject.hot, steps.append, mode=mode)
    after = await subject.host.state()
    assert report.outcome == "applied"
    assert report.enforced == after.enforced == after.target == before.enforced | subject.cold | subject.hot
    assert report.mode is not SwitchMode.AUTO
    assert mode in (report.mode, SwitchMode.AUTO)
    assert after.deployment.id > before.deployment.id
    assert after.phase is HostPhase.SERVING
    assert [step.elapsed_s for step in steps] == sorted(step.elapsed_s for step in steps)
    assert {step.phase for step in steps} <= report.phases_s.keys()
    assert report.duration_s >= max(step.elapsed_s for step in steps)


@pytest.mark.parametrize("mode", [SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL, SwitchMode.DRAIN])
async def test_streams_live_through_a_switch(subject, mode):
    """Every stream ends with exactly the tokens that it would have had without the switch."""
    prompts = [[10 + i, 20, 30] for i in range(4)]
    outlives_a_boot = mode is SwitchMode.OVERLAPPED
    tokens = subject.stream_tokens if outlives_a_boot else subject.stream_tokens // 3
    expected = await asyncio.gather(*(subject.generate(prompt, tokens) for prompt in prompts))
    before = await subject.generated()
    streams = [asyncio.create_task(subject.generate(prompt, tokens)) for prompt in prompts]
    await subject.live(len(prompts))
    while await subject.generated() < before + 3 * len(prompts):  # noqa: ASYNC110  # each has begun; no event for it
        await asyncio.sleep(0.001)
    report = await subject.switch(subject.cold, mode=mode)
    assert report.outcome == "applied"
    assert await asyncio.gather(*streams) == expected
    assert report.live_requests == (0 if mode is SwitchMode.DRAIN else len(prompts))
    assert len(report.stall_s) == (0 if mode is SwitchMode.DRAIN else 3)


@pytest.mark.parametrize("mode", [SwitchMode.OVERLAPPED, SwitchMode.SEQUENTIAL, SwitchMode.DRAIN])
async def test_a_target_that_fails_leaves_everything_as_it_was(subject, mode):
    """The old configuration serves on, the report says why, and streams do not notice."""
    before = await subject.host.state()
    stream = asyncio.create_task(subject.generate([1, 2, 3], 100))
    report = await subject.switch(subject.failing, mode=mode)
    after = await subject.host.state()
    assert report.outcome == "rolled_back"
    assert report.detail
    assert after.enforced == after.target == report.enforced == before.enforced
    assert after.phase is HostPhase.SERVING
    assert after.last_error
    assert await stream == await subject.generate([1, 2, 3], 100)


async def test_one_action_at_a_time(subject):
    """A second action is told what runs and since when, and does not disturb it."""
    started = asyncio.Event()
    switch = asyncio.create_task(subject.switch(subject.cold, lambda _: started.set()))
    await started.wait()
    with pytest.raises(ActionInProgress) as refused:
        await subject.switch(subject.cold)
    with pytest.raises(ActionInProgress):
        await subject.host.set_knobs(subject.hot)
    state = await subject.host.state()
    assert (state.phase, state.action.kind) == (HostPhase.SWITCHING, "switch")
    assert (refused.value.action, refused.value.since) == ("switch", state.action.since)
    assert (await switch).outcome == "applied"
    assert (await subject.host.state()).action is None


async def test_a_dry_run_only_says(subject):
    """It names the mode that would be used, and changes nothing."""
    before = await subject.host.state()
    report = await subject.switch(subject.cold, dry_run=True)
    assert report.outcome == "applied"
    assert report.detail
    assert report.enforced == before.enforced
    assert await subject.host.state() == before


async def test_telemetry_tells_every_request_once(subject):
    """A finished request is in one batch, with its lengths; the counters agree."""
    first = await subject.host.telemetry(0)
    await subject.generate([1, 2, 3, 4], 5)
    second = await subject.host.telemetry(first.next_after)
    (record,) = second.records
    assert (record.prompt_tokens, record.output_tokens) == (4, 5)
    assert record.finish_reason is FinishReason.LENGTH
    assert 0 <= record.ttft_s <= record.e2e_latency_s
    assert record.arrived_s <= second.now_s
    assert second.totals.output_tokens - first.totals.output_tokens == 5
    assert second.totals.finished - first.totals.finished == 1
    third = await subject.host.telemetry(second.next_after)
    assert (third.records, third.next_after, third.dropped) == ([], second.next_after, 0)


async def test_stop_lets_live_requests_end(subject):
    """What was begun is finished before the host stops."""
    stream = asyncio.create_task(subject.generate([1, 2, 3], 30))
    await subject.live(1)
    await subject.host.stop(5.0)
    output, reason = await stream
    assert (len(output), reason) == (30, "length")
