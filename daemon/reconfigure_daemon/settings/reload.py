"""What may change while the daemon runs, and what needs a restart."""

from __future__ import annotations

from reconfigure_daemon.settings.model import Settings

#: Keys that a process read once, when it started: the engine host (engine, space, core restarts), the controller's
#: listening socket, meter, way to the device helper and database. Everything else is read anew at each use.
COLD_KEYS = (
    "engine",
    "space",
    "constraints",
    "switch.core_restarts",
    "switch.core_restart_window_s",
    "metering.nvml",
    "metering.rapl",
    "metering.estimate_idle_w",
    "metering.estimate_busy_w",
    "device",
    "control_api",
    "paths",
)


def cold_differences(old: Settings, new: Settings) -> list[str]:
    """The keys, such as `engine.port`, that differ and cannot change while running; empty if `new` can be adopted."""
    before, after = _leaves(old), _leaves(new)
    names = sorted(before.keys() | after.keys())
    return [name for name in names if _is_cold(name) and before.get(name) != after.get(name)]


def _is_cold(name: str) -> bool:
    return any(name == key or name.startswith(key + ".") for key in COLD_KEYS)


def _leaves(settings: Settings) -> dict[str, str]:
    """Every value by its dotted name, as text that tells `1` from `true`."""
    leaves = {}
    pending: list[tuple[str, object]] = [("", settings.model_dump(mode="json"))]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict):
            pending += [(f"{name}.{key}".removeprefix("."), inner) for key, inner in value.items()]
        else:
            leaves[name] = repr(value)
    return leaves
