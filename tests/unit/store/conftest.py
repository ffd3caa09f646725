from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reconfigure_daemon.ports import Capabilities, DeploymentState, HostPhase, HostState
from reconfigure_daemon.store import Store
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.decision import Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.history import ControllerState, Observation
from reconfigure_policies.domain.objective import AppliedConfiguration, IntentKind, Objective, OperatorIntent
from reconfigure_policies.domain.workload import Percentiles, WorkloadWindow

SMALL = Configuration({"max_num_seqs": 16, "block_size": 16})
LARGE = Configuration({"max_num_seqs": 64, "block_size": 32})


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_763_700_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Examples:
    """One of each thing that is stored."""

    small = SMALL
    large = LARGE
    intent = OperatorIntent("intent-1", IntentKind.APPLY, 90.0, "cli", changes={"max_num_seqs": 64}, expires_at=200.0)
    adjust = Decision(DecisionKind.ADJUST, "the operator asked for 64", LARGE, {"max_num_seqs": 64}, {}, intent)
    redeploy = Decision(DecisionKind.REDEPLOY, "energy: 12% less", LARGE, {}, {"block_size": 32})
    keep = Decision(DecisionKind.KEEP, "nothing better is known", SMALL)
    applied = Outcome(OutcomeKind.APPLIED, "done", LARGE, 2.5, {"stall_p95_s": 0.06, "energy_j": 900.0})
    failed = Outcome(OutcomeKind.FAILED, "out of memory", None, 9.0)
    unknown = Outcome(OutcomeKind.UNKNOWN, "the controller was killed", LARGE, 0.0)
    window = WorkloadWindow(
        5.0, 30.0, 12, 11, 10, 4000, 100, 900, 0, 3.5, 0.0, ttft_s=Percentiles(0.1, 0.2, 0.3), energy_j=1234.5
    )
    observation = Observation(100.0, "host-a", "vllm", "0.32.0", "smollm2", LARGE, window)
    state = ControllerState(
        Objective.ENERGY,
        500.0,
        True,
        LARGE,
        (AppliedConfiguration(SMALL, Objective.THROUGHPUT),),
        governed=frozenset({"max_num_seqs"}),
        hands_off="cli set it",
    )
    host = HostState(
        host_id="host-a",
        pid=1,
        started_at=50.0,
        engine="vllm",
        engine_version="0.32.0",
        model="smollm2",
        openai_url="http://127.0.0.1:8000",
        phase=HostPhase.SERVING,
        deployment=DeploymentState(id=1, booted_at=60.0, boot_s=10.0),
        target=dict(LARGE),
        enforced=dict(LARGE),
        action=None,
        capabilities=Capabilities(hot_knobs=[], exact_replay=True, switch_modes=["overlapped"]),
        live_requests=0,
    )


@pytest.fixture
def examples() -> type[Examples]:
    return Examples


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def open_store(tmp_path: Path, clock: HandClock) -> AsyncIterator[Callable[[], Store]]:
    """Opens the store of the test's own directory, as often as the test likes."""
    opened: list[Store] = []

    def open_it() -> Store:
        opened.append(Store.open(tmp_path, clock, retention_days=1.0, busy_timeout_s=0.02))
        return opened[-1]

    yield open_it
    for store in opened:
        if not store._thread._shutdown:
            await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reconfigure.db"
