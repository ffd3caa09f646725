from __future__ import annotations

import asyncio

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_daemon.emulated_engine.emulation import Emulation
from reconfigure_policies.domain.workload import FinishReason
from tests.simulation.controller import SETTINGS, Controller, InProcessLauncher


async def _ask(host, output_tokens=50):
    async for _ in host.engine.generate(200, output_tokens, (), 16, FinishReason.LENGTH):
        pass


async def _traffic(host, rate_rps):
    requests = set()
    try:
        while True:
            requests.add(asyncio.create_task(_ask(host)))
            await asyncio.sleep(1 / rate_rps)
    finally:
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)


def test_only_settled_windows_of_one_configuration_are_observed(tmp_path):
    """Under steady traffic with one switch, no observation mixes two configurations or begins before it settled."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            traffic = asyncio.create_task(_traffic(launcher.host, 5))
            await asyncio.sleep(130)
            switched = await controller.submit("apply", changes={"block_size": 32})
            switched_s = controller.clock.monotonic()
            await asyncio.sleep(130)
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
            observations = await controller.store.observations()
        await launcher.end()
        return observations, switched_s, switched.record.outcome.duration_s

    observations, switched_s, duration_s = in_virtual_time(story())
    before = [seen for seen in observations if seen.configuration["block_size"] == 16]
    after = [seen for seen in observations if seen.configuration["block_size"] == 32]
    assert len(before) == 4
    assert len(after) == 3
    assert all(w.started_s + w.duration_s <= switched_s - duration_s + 1 for w in (seen.window for seen in before))
    assert all(w.started_s >= switched_s + SETTINGS.monitoring.settle_s for w in (seen.window for seen in after))
    assert all(
        w.finished >= SETTINGS.monitoring.observation_min_requests for w in (seen.window for seen in observations)
    )


def test_nothing_is_learned_of_a_core_while_another_boots_beside_it(tmp_path):
    """Windows of that time are kept as history; what they got is also what the boot took."""

    async def story():
        launcher = InProcessLauncher(emulation=Emulation(boot_s=100))
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            traffic = asyncio.create_task(_traffic(launcher.host, 5))
            await asyncio.sleep(50)
            began_s = controller.clock.monotonic()
            switched = await controller.submit("apply", changes={"block_size": 32})
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
            windows = [record.window for record in await controller.store.windows(100)]
            to_decide_by, observations = list(controller.loop.sampler.windows), await controller.store.observations()
        await launcher.end()
        assert [window for window in to_decide_by if window.started_s >= began_s] == []
        return began_s, switched.record.outcome.duration_s, windows, observations

    began_s, duration_s, windows, observations = in_virtual_time(story())
    assert duration_s >= 100
    assert len([window for window in windows if window.started_s >= began_s]) >= 2
    assert [seen for seen in observations if seen.window.started_s + seen.window.duration_s > began_s + 1] == []


def test_a_request_that_lives_through_a_switch_is_not_judged_by_what_follows(tmp_path):
    """The window in which it ends counts it, and says nothing of its latency."""

    async def story():
        launcher = InProcessLauncher(emulation=Emulation(boot_s=5))
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            asked = asyncio.create_task(_ask(launcher.host, output_tokens=6000))
            await asyncio.sleep(2)
            await controller.submit("apply", changes={"block_size": 32})
            await asked
            traffic = asyncio.create_task(_traffic(launcher.host, 2))
            await asyncio.sleep(60)
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
            windows = list(controller.loop.sampler.windows)
        await launcher.end()
        return windows

    windows = in_virtual_time(story())
    [with_it] = [window for window in windows if window.inherited]
    assert (with_it.inherited, with_it.judged) == (1, with_it.finished - 1)
    assert len(windows) > 1
    assert max(window.e2e_latency_s.p99 for window in windows if window.judged) < 5


def test_a_window_without_traffic_is_no_observation(tmp_path):
    """Idle time is kept as history and teaches nothing."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            await asyncio.sleep(300)
            told = len(controller.loop.sampler.windows), await controller.store.observations()
        await launcher.end()
        return told

    windows, observations = in_virtual_time(story())
    assert windows >= 9
    assert list(observations) == []
