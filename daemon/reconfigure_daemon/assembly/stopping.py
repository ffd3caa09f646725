"""`reconfigure stop`: ends an engine host that no controller watches over."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from reconfigure_daemon.actuation.ending import stop_host
from reconfigure_daemon.clock import SystemClock
from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.settings import Settings, load_settings
from reconfigure_daemon.settings.model import EngineSettings
from reconfigure_daemon.supervision import single_instance


def stop(config_path: Path, runtime: Path | None, drain_timeout_s: float | None) -> int | None:
    """End the engine host of a runtime directory as soon as its live requests have finished.

    Settings are read only for what is not given. With a runtime directory even a faulty file is no hindrance: what was
    edited since the start must not keep a service from stopping.

    Returns:
        The process id of the host that was ended, or None if none ran.

    Raises:
        DaemonAlreadyRuns: if a controller runs there, since it would start the engine again.
        SettingsInvalid: if neither the runtime directory nor valid settings are given.
    """
    if runtime is None or drain_timeout_s is None:
        settings = _settings(config_path, needed=runtime is None)
        runtime = runtime or settings.paths.runtime
        drain_timeout_s = drain_timeout_s or settings.engine.drain_timeout_s
    if not runtime.is_dir():
        return None
    with single_instance(runtime):
        return asyncio.run(stop_host(runtime, drain_timeout_s, SystemClock()))


def _settings(config_path: Path, *, needed: bool) -> Settings:
    """The settings, or as much of the defaults as a stop takes."""
    try:
        return load_settings(config_path, os.environ)
    except SettingsInvalid as invalid:
        if needed:
            raise
        engine = EngineSettings()
        sys.stderr.write(
            f"reconfigure: the settings are not read ({len(invalid.faults)} faults, see `reconfigure config check`); "
            f"live requests get the default of {engine.drain_timeout_s:g} s\n"
        )
        return Settings.model_construct(engine=engine)
