"""What the host does about cores that fail it, and how it ends, with cores that are only pretended."""

from __future__ import annotations

import asyncio
import subprocess
from types import SimpleNamespace

import pytest

from reconfigure_daemon.engine_host import cores
from reconfigure_daemon.engine_host import host as host_module
from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core, CoreBooter
from reconfigure_daemon.engine_host.host import VllmHost
from reconfigure_daemon.engine_host.public_paths import Door
from reconfigure_daemon.engine_host.vllm_names import Support
from reconfigure_daemon.ports import HostPhase
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.workload import FinishReason

SETTINGS = Settings.model_validate(
    {"space": {"max_num_seqs": {"values": [4, 16], "default": 4}, "block_size": {"values": [16, 32], "default": 16}}}
)
START = SETTINGS.engine_space().default()


class Client:
    """The part of vLLM's client that the host calls; `fails` names what this core does not do."""

    def __init__(self, *fails):
        self.resources = SimpleNamespace(engine_dead=False, engine_manager=SimpleNamespace(processes=[]))
        self.fails = fails
        self.outputs = asyncio.Queue()
        self.added = []

    async def get_output_async(self):
        raise await self.outputs.get()

    async def call_utility_async(self, method, *arguments):
        return self._done(method, {})

    async def add_lora_async(self, lora):
        return self._done("add_lora", True)

    async def add_request_async(self, request):
        self.added.append(request.request_id)

    async def abort_requests_async(self, request_ids):
        pass

    def _done(self, method, answer):
        if method in self.fails:
            raise RuntimeError(f"{method} failed")
        return answer


class Booter:
    """Boots the cores that it is given, and counts those that it ends."""

    def __init__(self, *_):
        self.to_come = []
        self.retired = []

    async def boot(self, config, configuration, deadline_s):
        return self.to_come.pop(0)

    async def retire(self, core, grace_s=0):
        self.retired.append(core.id)
        core.client.resources.engine_dead = True

    def last_error(self, since):
        return None


def a_core(number, *fails, configuration=START):
    return Core(number, Client(*fails), None, configuration, 0.0, 0.0)


def a_request(name):
    return SimpleNamespace(request_id=name, prompt_token_ids=[1], sampling_params=None)


@pytest.fixture
async def host(monkeypatch, tmp_path):
    """It serves with one core."""
    monkeypatch.setattr(host_module, "CoreBooter", Booter)
    made = VllmHost(SETTINGS, tmp_path, "m", Support("0.32.0", live_switching=True))
    made._make_config = lambda configuration: None
    made.router = CoreRouter(a_core(1), made.ledger)
    made.router.on_core_death = made._core_died
    made.begin_serving()
    yield made
    for core in made.router.cores():
        made.router.detach(core)


@pytest.mark.parametrize(
    ("files", "configuration", "does"),
    [
        (False, START.with_changes({"block_size": 32}), True),
        (False, START, True),
        (True, START, True),
        (True, START.with_changes({"block_size": 32}), False),
    ],
)
async def test_an_adapter_that_cannot_be_loaded_again_holds_nothing_up(host, tmp_path, files, configuration, does):
    """Unless its files are there and only a target with other settings refuses it: then that target does not do."""
    folder = tmp_path / "adapter"
    if files:
        folder.mkdir()
    lora = SimpleNamespace(lora_int_id=3, lora_name="adapter", lora_path=str(folder))
    await host.router.add_lora_async(lora)
    fresh = a_core(2, "add_lora", configuration=configuration)
    if does:
        await host._prepare(fresh)
        assert host.router.loras == {}
    else:
        with pytest.raises(RuntimeError):
            await host._prepare(fresh)
        assert host.router.loras == {3: lora}


async def test_a_core_that_dies_of_an_adapter_is_not_prepared(host):
    """Its death is dealt with as any other."""
    host.router.loras[3] = SimpleNamespace(lora_int_id=3, lora_name="adapter", lora_path="/none")
    dying = a_core(2, "add_lora")
    dying.client.resources.engine_dead = True
    with pytest.raises(RuntimeError):
        await host._prepare(dying)


async def test_a_fresh_core_that_cannot_take_over_is_replaced_as_well(host):
    """Admission opens again, with all requests in the core after it; the restarts stay bounded."""
    await host.router.add_request_async(a_request("a"))
    host._booter.to_come = [a_core(2, "reconfigure_set_knobs"), a_core(3)]
    first = host.router.serving
    first.client.resources.engine_dead = True
    first.client.outputs.put_nowait(RuntimeError("died"))
    async with asyncio.timeout(5):
        while "a" not in host.router.serving.client.added or host.router.serving is first:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.01)
        await host.router.add_request_async(a_request("b"))
    assert host.router.serving.id == 3
    assert host.router.serving.client.added == ["a", "b"]
    assert set(host._booter.retired) == {1, 2}
    while host._action is not None:  # noqa: ASYNC110  # likewise
        await asyncio.sleep(0.01)
    assert (await host.state()).phase is HostPhase.SERVING


async def test_the_state_is_told_while_no_core_runs(host, monkeypatch, tmp_path):
    """Between the old core's end and the new one's start it has no processes; vLLM no longer knows which it had."""
    process = subprocess.Popen(["/bin/sleep", "60"])  # noqa: ASYNC220  # stands for a core that vLLM has started

    class Process:
        closed = False

        def close(self):
            self.closed = True

        @property
        def pid(self):
            if self.closed:
                raise ValueError("process object is closed")
            return process.pid

    client, shut = Client(), []
    client.resources.engine_manager.processes = [Process()]
    client.shutdown = shut.append
    monkeypatch.setenv(cores.JOURNAL_VARIABLE, "")  # set by the booter
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", "")
    monkeypatch.setattr(cores.vllm_names, "runs_on_cpu", lambda: False)
    monkeypatch.setattr(cores, "make_client", lambda *_: client)
    monkeypatch.setattr(cores, "_LAST_LOOK_S", 0.0)
    booter = CoreBooter(tmp_path)
    config = SimpleNamespace(parallel_config=SimpleNamespace(data_parallel_size=1))
    core = await booter.boot(config, Configuration({}), 5)
    host._phase, host.router.serving = HostPhase.SWITCHING, core
    assert (await host.state()).deployment.pids == [process.pid]
    await booter.retire(core, grace_s=3.0)
    await booter.retire(core)
    cores.release(client)
    assert (await host.state()).deployment.pids == []
    assert shut == [3.0, 0]
    assert process.wait(5) < 0


async def test_stop_turns_newcomers_away_at_once_and_lets_live_requests_end(host, monkeypatch):
    """Steady traffic does not draw the drain out."""
    door, signals = Door(), []
    monkeypatch.setattr(host_module, "DOOR", door)
    monkeypatch.setattr(host_module.os, "kill", lambda *told: signals.append(told))
    await host.router.add_request_async(a_request("a"))
    stopping = asyncio.create_task(host.stop(60.0))
    await asyncio.sleep(0)
    assert door.closed
    assert not stopping.done()
    host.ledger.finish("a", FinishReason.LENGTH)
    async with asyncio.timeout(5):
        await stopping
        while not signals:  # noqa: ASYNC110  # the signal is the event
            await asyncio.sleep(0.01)
