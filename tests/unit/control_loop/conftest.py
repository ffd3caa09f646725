"""States of an engine host, as the control loop reads them."""

from __future__ import annotations

import pytest

from reconfigure_daemon.ports import Capabilities, HostPhase, HostState


@pytest.fixture
def host_state():
    def make(enforced, **facts):
        return HostState(
            **{
                "host_id": "h1",
                "pid": 1,
                "started_at": 0.0,
                "engine": "emulated",
                "engine_version": "test",
                "model": "m",
                "openai_url": "http://127.0.0.1:8000",
                "phase": HostPhase.SERVING,
                "deployment": None,
                "target": enforced,
                "enforced": enforced,
                "action": None,
                "capabilities": Capabilities(hot_knobs=[], exact_replay=True, switch_modes=[]),
                "live_requests": 0,
                **facts,
            }
        )

    return make
