from __future__ import annotations

import asyncio

from benchmarks.harness.virtual_time import in_virtual_time
from reconfigure_policies.domain.decision import DecisionKind
from tests.simulation.controller import Controller, InProcessLauncher


def test_left_alone_it_keeps_still(tmp_path):
    """In an hour without intents the only decision is to keep what the engine was found with."""

    async def story():
        launcher = InProcessLauncher()
        async with Controller.running(tmp_path, launcher) as controller:
            await controller.serving()
            before = (await launcher.host.state()).enforced
            await asyncio.sleep(3600)
            history = await controller.history()
            after = (await launcher.host.state()).enforced
        await launcher.end()
        return history, before, after

    history, before, after = in_virtual_time(story())
    assert [record.decision.kind for record in history] == [DecisionKind.KEEP]
    assert "enforces: block_size=16 max_num_seqs=64 pacing_interval_s=0" in history[0].decision.reason
    assert before == after
