"""A controller over an emulated engine and cards of the fake driver, and the device helper without its socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

from reconfigure_daemon.actuation.device_helper import DeviceHelperClient
from reconfigure_daemon.actuation.device_knobs import DeviceKnobs, DeviceLauncher
from reconfigure_daemon.device_helper.cards import Cards
from reconfigure_daemon.device_helper.custody import Custody
from reconfigure_daemon.device_helper.protocol import answer
from reconfigure_daemon.device_helper.restore_file import RestoreFile
from reconfigure_daemon.settings import Settings
from tests.simulation.controller import Controller, InProcessLauncher

SETTINGS = Settings.model_validate(
    {
        "engine": {"kind": "emulated"},
        "space": {
            "max_num_seqs": {"values": [16, 64], "default": 64},
            "block_size": {"values": [16, 32]},
            "gpu_clock_mhz": {"values": [0, 900, 1200, 1590]},
            "power_cap_w": {"values": [0, 300, 450.5]},
        },
        "objectives": {
            "energy": {"max_num_seqs": 16, "gpu_clock_mhz": 1200, "power_cap_w": 450.5},
            "throughput": {"max_num_seqs": 64},
        },
        "device": {"enabled": True},
    }
)


class HelperNearby(DeviceHelperClient):
    """The real client and the real helper, without the socket between them."""

    lives = 0

    @classmethod
    def over(cls, folder: Path, now_s):
        helper = cls(folder / "nowhere.sock", "test", 30)
        object.__setattr__(helper, "folder", folder)
        object.__setattr__(helper, "now_s", now_s)
        helper.start()
        return helper

    def start(self) -> None:
        """Another life of the helper."""
        custody = Custody(Cards(sleep=lambda _: None), RestoreFile(self.folder / "restore.json"), self.now_s)
        custody.take_up()
        object.__setattr__(self, "custody", custody)
        HelperNearby.lives += 1
        object.__setattr__(self, "life", f"life {self.lives}")

    def end(self) -> None:
        self.custody.put_back()
        object.__setattr__(self, "custody", None)

    async def _exchange(self, line: bytes) -> bytes:
        if self.custody is None:
            raise ConnectionRefusedError(111, "Connection refused")
        self.custody.expire()
        return answer(line, self.custody, self.life)


class Machine:
    """An engine on some cards."""

    def __init__(self, controller, helper, engine):
        self.controller, self.helper, self.engine = controller, helper, engine

    async def state(self):
        return await self.controller.loop.keeper.host.state()


@asynccontextmanager
async def machine_with_cards(folder: Path, choose=lambda uuids: range(len(uuids)), settings=SETTINGS):
    engine = InProcessLauncher(settings)
    helper = HelperNearby.over(folder, engine.clock.monotonic)
    inner = _Reached(engine)
    device = DeviceKnobs(inner, helper, ["gpu_clock_mhz", "power_cap_w"], choose)
    launcher = DeviceLauncher(engine, device)
    async with Controller.running(folder / "state", _WithClock(launcher, engine), settings) as controller:
        await controller.serving()
        yield Machine(controller, helper, engine)
    await engine.end()


class _Reached:
    """Whichever host runs now, as the private socket's client reaches it."""

    def __init__(self, launcher):
        self._launcher = launcher

    def __getattr__(self, name):
        return getattr(self._launcher.host, name)


class _WithClock:
    """What the controller under test asks of a launcher beyond the port."""

    def __init__(self, launcher, engine):
        self._launcher, self._engine = launcher, engine
        self.clock, self.settings = engine.clock, engine.settings
        self.adopt_or_start, self.restart = launcher.adopt_or_start, launcher.restart

    @property
    def host(self):
        return self._engine.host
