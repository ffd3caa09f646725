"""The settings in force: read again on SIGHUP, as far as a running daemon can follow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.settings import Settings, cold_differences, load_settings
from reconfigure_daemon.settings.reload import COLD_KEYS

log = logging.getLogger(__name__)


class LiveSettings:
    """Call it for the settings in force.

    Args:
        settings: those that the daemon started with.
        path: the file they came from.
        environ: its overrides.
    """

    def __init__(self, settings: Settings, path: Path, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._path = path
        self._environ = environ
        self._followers: list[Callable[[Settings], None]] = []

    def __call__(self) -> Settings:
        """The settings in force."""
        return self._settings

    def follow(self, follower: Callable[[Settings], None]) -> None:
        """Have a function called with the new settings after each reload."""
        self._followers.append(follower)

    def reload(self) -> None:
        """Read the file again; a faulty one changes nothing, and keys that need a restart stay, by name."""
        try:
            wanted = load_settings(self._path, self._environ)
            settings = with_cold_of(self._settings, wanted)
        except SettingsInvalid as invalid:
            log.error("the configuration was not reloaded, the one in force stays: %s", invalid)
            return
        cold = cold_differences(self._settings, wanted)
        if cold:
            log.warning("these keys need a restart and keep their values: %s", ", ".join(cold))
        self._settings = settings
        log.info("the configuration was reloaded from %s", self._path)
        for follower in self._followers:
            follower(settings)


def with_cold_of(old: Settings, new: Settings) -> Settings:
    """New settings in which every key that needs a restart has its old value.

    Raises:
        SettingsInvalid: if the two do not go together, e.g. an objective's new value in the old space.
    """
    mixed = new.model_dump(mode="json", exclude_unset=True)
    before = old.model_dump(mode="json", exclude_unset=True)
    for key in COLD_KEYS:
        _copy_key(key.split("."), before, mixed)
    try:
        return Settings.model_validate(mixed)
    except ValidationError as invalid:
        faults = [fault["msg"] for fault in invalid.errors()]
        raise SettingsInvalid(
            [f"with the keys that need a restart unchanged: {fault}" for fault in faults]
        ) from invalid


def _copy_key(names: list[str], source: dict[str, object], target: dict[str, object]) -> None:
    """Give one key, however deep, the value it has in the source; one that is unset there is unset afterwards."""
    first, *rest = names
    if not rest:
        target.pop(first, None)
        if first in source:
            target[first] = source[first]
        return
    inner_source, inner_target = source.get(first, {}), target.setdefault(first, {})
    assert isinstance(inner_source, dict)
    assert isinstance(inner_target, dict)
    _copy_key(rest, inner_source, inner_target)
