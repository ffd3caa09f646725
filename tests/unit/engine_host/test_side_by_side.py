"""Two cores on the same processors take turns; on a GPU none is held back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reconfigure_daemon.engine_host.side_by_side import PACE_S, at_half_pace, taking_turns, unpaced


class PacedCore:
    """A core that knows its pace, until it dies."""

    def __init__(self, device, pace_s=0.0):
        self.config = SimpleNamespace(device_config=SimpleNamespace(device_type=device))
        self.paces_s = [pace_s]
        self.dead = False

    async def utility(self, method, *arguments):
        if self.dead:
            raise ConnectionError("the core is gone")
        if method == "reconfigure_read":
            return {"enforced": {"pacing_interval_s": self.paces_s[-1]}}
        self.paces_s.append(arguments[0]["pacing_interval_s"])
        return None


@pytest.mark.parametrize(
    ("device", "pace_s", "during_and_after"),
    [("cpu", 0.0, [PACE_S, 0.0]), ("cpu", 0.02, [PACE_S, 0.02]), ("cpu", 0.5, [0.5, 0.5]), ("cuda", 0.02, [])],
)
async def test_a_core_on_the_cpu_is_paced_for_a_while(device, pace_s, during_and_after):
    """It gets back the pace it had, one that was slower stays, and a GPU takes turns by itself."""
    core = PacedCore(device, pace_s)
    async with taking_turns(core):
        assert core.paces_s == [pace_s, *during_and_after[:1]]
    assert core.paces_s == [pace_s, *during_and_after]


@pytest.mark.parametrize(("device", "during_and_after"), [("cuda", [0.0, 0.045]), ("cpu", [])])
async def test_a_core_on_a_gpu_is_not_paced_for_a_while(device, during_and_after):
    """Its steps take longer than the pace was chosen for, and it gets that back."""
    core = PacedCore(device, 0.045)
    async with unpaced(core):
        assert core.paces_s == [0.045, *during_and_after[:1]]
    assert core.paces_s == [0.045, *during_and_after]


@pytest.mark.parametrize(("device", "during_and_after"), [("cuda", [0.0225, 0.0, 0.0225, 0.045]), ("cpu", [])])
async def test_a_core_on_a_gpu_keeps_half_of_its_pace_while_another_boots(device, during_and_after):
    """Then it has none for a while, and in the end the one that it had."""
    core = PacedCore(device, 0.045)
    async with at_half_pace(core):
        assert core.paces_s == [0.045, *during_and_after[:1]]
        async with unpaced(core):
            assert core.paces_s == [0.045, *during_and_after[:2]]
    assert core.paces_s == [0.045, *during_and_after]


async def test_a_core_that_dies_meanwhile_hides_no_error():
    """What went wrong inside is what is told."""
    core = PacedCore("cpu")

    async def die() -> None:
        async with taking_turns(core):
            core.dead = True
            raise TimeoutError("the real reason")

    with pytest.raises(TimeoutError, match="the real reason"):
        await die()
