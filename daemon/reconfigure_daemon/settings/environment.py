"""Settings from the environment: `RECONFIGURE_ENGINE__PORT=8001` takes the place of `engine.port`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from reconfigure_daemon.settings.faults import Fault, Origins
from reconfigure_daemon.settings.model import Settings
from reconfigure_daemon.settings.yaml_document import KeyPath, read_yaml

PREFIX = "RECONFIGURE_"

#: Variables of the same prefix that are the command line's own.
NOT_SETTINGS = {"RECONFIGURE_URL", "RECONFIGURE_TOKEN_FILE", "RECONFIGURE_CONFIG"}


def apply_overrides(data: dict[str, Any], environ: Mapping[str, str], origins: Origins) -> list[Fault]:
    """Put each variable's value, read as YAML, in its place in `data`, and name every variable that has none."""
    faults = []
    for name in sorted(set(environ) - NOT_SETTINGS):
        if not name.startswith(PREFIX):
            continue
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if len(path) == 1 and path[0] not in Settings.model_fields:
            faults += _misspelt(name)
            continue
        read = read_yaml(environ[name])
        if read.faults:
            faults.append(Fault(read.faults[0].message, path, variable=name))
        else:
            _put(data, path, read.data, name, origins)
    return faults


def _put(data: dict[str, Any], path: KeyPath, value: Any, name: str, origins: Origins) -> None:
    """Set the value; blocks on the way to it that the file lacks are made, and belong to the variable too."""
    block = data
    for depth, key in enumerate(path[:-1], start=1):
        if not isinstance(block.get(str(key)), dict):
            block[str(key)] = {}
            origins.variables[path[:depth]] = name
        block = block[str(key)]
    block[str(path[-1])] = value
    origins.variables[path] = name


def _misspelt(name: str) -> list[Fault]:
    """A fault if the variable almost names a key, e.g. `RECONFIGURE_ENGINE_PORT`; others may own the rest."""
    known = {variable.replace("__", "_"): variable for variable in _variables()}
    meant = get_close_matches(name.upper(), known, n=1, cutoff=0.9)
    if not meant:
        return []
    wrong = "is not a setting; between a section and its key stand two underscores"
    return [Fault(f"{wrong}; did you mean {known[meant[0]]}?", variable=name)]


def _variables() -> list[str]:
    """The variable of every key that the model names."""
    names = []
    for key, field in Settings.model_fields.items():
        names.append(PREFIX + key.upper())
        inner = getattr(field.annotation, "model_fields", {})
        names += [f"{PREFIX}{key.upper()}__{name.upper()}" for name in inner]
    return names
