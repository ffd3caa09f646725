"""`reconfigure serve`: takes what only one daemon can have, builds the daemon, and runs it to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from reconfigure_daemon import __version__
from reconfigure_daemon.actuation.device_helper import DeviceHelperClient
from reconfigure_daemon.actuation.device_knobs import DeviceKnobs, DeviceLauncher
from reconfigure_daemon.actuation.launcher import ProcessLauncher
from reconfigure_daemon.actuation.profile_reader import read_profiles
from reconfigure_daemon.assembly.daemon import Daemon
from reconfigure_daemon.assembly.live_settings import LiveSettings
from reconfigure_daemon.assembly.tuning import build_tuning
from reconfigure_daemon.assembly.wiring import Surroundings, build_loop, window_builder
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.control_api import Controller, Learned, allow_many_connections, listen, serve
from reconfigure_daemon.control_loop import ControlLoop
from reconfigure_daemon.errors import ReconfigureError, SettingsInvalid
from reconfigure_daemon.exposition import Metrics
from reconfigure_daemon.learning import Learning
from reconfigure_daemon.metering import ComposedEnergyMeter, build_emulated_meter, build_meter
from reconfigure_daemon.metering.device_name import device_name
from reconfigure_daemon.metering.gpu_selection import visible_gpus
from reconfigure_daemon.ports import Served
from reconfigure_daemon.private_socket import socket_path
from reconfigure_daemon.settings import DEVICE_KNOBS, Settings, load_settings, read_token
from reconfigure_daemon.store import SqliteTrials, Store
from reconfigure_daemon.store.store import DAY_S
from reconfigure_daemon.supervision import Notifier, single_instance

log = logging.getLogger(__name__)


def run(config_path: Path) -> int:
    """Run the daemon until a signal ends it.

    Returns:
        The exit code: 0 after SIGTERM or Ctrl-C, 1 with one line per fault if it cannot run or go on.
    """
    try:
        settings = load_settings(config_path, os.environ)
        logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("reconfigure_daemon").setLevel(settings.log_level)
        asyncio.run(_run(LiveSettings(settings, config_path, os.environ), config_path))
    except ReconfigureError as fault:
        words = fault.listed() if isinstance(fault, SettingsInvalid) else fault
        sys.stderr.write(f"reconfigure: {words}\n")
        return 1
    return 0


async def _run(settings: LiveSettings, config_path: Path) -> None:
    """Lock, port and store first, in the order in which a conflict costs least; no engine is touched before them.

    Raises:
        ReconfigureError: with what the operator can do.
    """
    allow_many_connections()
    paths = settings().paths
    async with AsyncExitStack() as held:
        held.enter_context(single_instance(paths.runtime))
        listener = held.enter_context(listen(settings().control_api))
        clock, metrics = SystemClock(), Metrics(__version__)
        store = Store.open(paths.state, clock, settings().store.retention_days)
        held.push_async_callback(store.close)
        sight = _Sight()
        meter = _meter(settings(), sight)
        held.callback(meter.close)
        sight.device = "emulated" if settings().engine.kind == "emulated" else device_name(meter.gpus)
        trials = SqliteTrials(store)
        learning = Learning(settings, clock, trials, metrics, sight.served)
        held.callback(learning.close)
        launcher = ProcessLauncher(settings(), config_path, paths.runtime, dict(os.environ))  # as it was given to us
        held.push_async_callback(launcher.client.close)
        around = Surroundings(settings, clock, store, meter, metrics, launcher, launcher.client, learning)
        around = _with_device(around)
        loop = sight.loop = await build_loop(around)
        held.push_async_callback(loop.close)
        settings.follow(lambda changed: _follow(changed, loop, store))
        tuning = build_tuning(around, loop, trials, learning)
        daemon = Daemon(
            settings, clock, loop, store, metrics, launcher, Notifier(os.environ), tuple(meter.notices), tuning
        )
        learned = Learned(learning, trials, settings)
        controller = Controller(
            loop, store, metrics.render, metrics.content_type, daemon.notices, clock, learned, read_profiles, tuning
        )
        runner = await serve(controller, listener, _token(settings()))
        held.push_async_callback(runner.cleanup)
        log.info("control API at http://%s:%d", settings().control_api.host, settings().control_api.port)
        await daemon.run()


class _Sight:
    """Lets the meter's estimate and the surrogates see the engine, which is read by a loop that is built after them."""

    def __init__(self) -> None:
        self.loop: ControlLoop | None = None
        self.device = ""

    def served(self) -> Served | None:
        """What is learned about: the engine as it was last read."""
        state = self.loop.sampler.state if self.loop else None
        return None if state is None else Served(state.engine, state.engine_version, state.model, self.device)

    def busy_share(self) -> float:
        """1 while any request runs, else 0: an engine steps at full speed for one request as for many."""
        totals = self.loop.sampler.totals if self.loop else None
        return 1.0 if totals is not None and totals.running > 0 else 0.0


def _meter(settings: Settings, sight: _Sight) -> ComposedEnergyMeter:
    if settings.engine.kind == "emulated":
        return build_emulated_meter(socket_path(settings.paths.runtime))
    return build_meter(settings.metering, sight.busy_share)


def _with_device(around: Surroundings) -> Surroundings:
    """With the GPUs' own knobs among the engine host's, where the settings have any."""
    settings = around.settings()
    names = [name for name in DEVICE_KNOBS if name in settings.space]
    if not names or around.client is None:
        return around
    helper = DeviceHelperClient(settings.device.socket, str(settings.paths.runtime), settings.device.lease_s)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    device = DeviceKnobs(around.client, helper, names, lambda uuids: visible_gpus(uuids, visible))
    return replace(around, launcher=DeviceLauncher(around.launcher, device), client=device)


def _follow(settings: Settings, loop: ControlLoop, store: Store) -> None:
    """What was built from settings that may change while running."""
    store.retention_s = settings.store.retention_days * DAY_S
    logging.getLogger("reconfigure_daemon").setLevel(settings.log_level)
    loop.sampler.use_windows(window_builder(settings))


def _token(settings: Settings) -> str | None:
    path = settings.control_api.token_file
    return None if path is None else read_token(path)
