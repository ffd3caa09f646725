"""From `config.yaml` and the environment to settings, or to every fault in them at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.settings.environment import apply_overrides
from reconfigure_daemon.settings.faults import Fault, Origins, explain, path_of
from reconfigure_daemon.settings.model import PathSettings, Settings
from reconfigure_daemon.settings.token_file import read_token
from reconfigure_daemon.settings.yaml_document import KeyPath, read_yaml


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of a file, with the environment's overrides, and with every path absolute.

    Args:
        path: the YAML file; relative paths in it are relative to its folder.
        environ: `RECONFIGURE_SECTION__KEY` variables override keys; systemd's STATE_DIRECTORY and RUNTIME_DIRECTORY
            take precedence over `paths`.

    Raises:
        SettingsInvalid: with every fault, in the order of the file, the environment's last.
    """
    document = read_yaml(_text(path))
    faults = [Fault(f.message, f.path, line=f.line) for f in document.faults]
    data = {} if document.data is None else document.data
    if any(fault.path == () for fault in faults):  # what cannot be read has no keys to judge
        raise _invalid(path, faults)
    if not isinstance(data, dict):
        raise _invalid(path, [Fault("found no keys; write sections such as `engine:` and `space:`", line=1)])
    origins = Origins(document.lines)
    faults += apply_overrides(data, environ, origins)
    settings, invalid = _validated(data, origins)
    faults += [fault for fault in invalid if fault.path not in document.unreadable]
    if settings is not None:
        settings = with_absolute_paths(settings, path.resolve().parent, environ)
        faults += _missing_files(settings, origins, environ)
    if settings is None or faults:
        raise _invalid(path, faults)
    return settings


def with_absolute_paths(settings: Settings, folder: Path, environ: Mapping[str, str]) -> Settings:
    """Settings whose paths no longer depend on the current directory."""
    state = environ.get("STATE_DIRECTORY", "").split(":")[0] or settings.paths.state
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or settings.paths.runtime
    paths = PathSettings(state=folder / state, runtime=folder / runtime)
    token_file = settings.control_api.token_file
    control_api = settings.control_api.model_copy(update={"token_file": token_file and folder / token_file})
    model = settings.engine.model
    if model.startswith(("./", "../")):
        model = str((folder / model).resolve())
    engine = settings.engine.model_copy(update={"model": model})
    device = settings.device.model_copy(update={"socket": folder / settings.device.socket})
    changed = {"paths": paths, "control_api": control_api, "engine": engine, "device": device}
    return settings.model_copy(update=changed)


def _invalid(path: Path, faults: list[Fault]) -> SettingsInvalid:
    return SettingsInvalid([fault.sentence(str(path)) for fault in sorted(faults, key=Fault.order)])


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        wrong = "there is no such file; run where the project's documented config.yaml is, or name yours: --config PATH"
    except UnicodeDecodeError as fault:
        wrong = f"byte {fault.start} is not UTF-8; save the file as UTF-8 text"
    except OSError as fault:
        wrong = f"cannot be read ({fault.strerror}); name a file that this user can read"
    raise _invalid(path, [Fault(wrong)])


def _validated(data: dict[str, Any], origins: Origins) -> tuple[Settings | None, list[Fault]]:
    """Settings of all that is valid, and every fault.

    Contradictions are looked for only between valid keys, so what is faulty is set aside and the rest judged again.
    """
    faults: dict[tuple[KeyPath, str], Fault] = {}
    rest = {name: value for name, value in data.items() if value is not None}  # its keys are all commented out
    while True:
        try:
            settings = Settings.model_validate_json(json.dumps(rest), strict=True)
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False)
        else:
            return settings, list(faults.values())
        for error in errors:
            path, message = path_of(error), explain(error)
            faults.setdefault((path, message), origins.fault(path, message))
        before, rest = rest, _without(rest, [path_of(error) for error in errors])
        if not rest.get("space") or rest == before:
            return None, list(faults.values())


def _without(data: dict[str, Any], paths: list[KeyPath]) -> dict[str, Any]:
    """A copy without faulty values and what only they make valid; faulty knobs and schedules go whole."""
    rest = deepcopy(data)
    for path in filter(None, paths):
        if path[0] == "space" and len(path) > 1:
            for block in (rest["space"], *_blocks(rest.get("objectives"))):
                block.pop(path[1], None)
            rest.pop("constraints", None)  # it may name the knob, and judges whole configurations
        elif path[0] == "constraints":
            rest.pop("constraints", None)  # one limit means nothing without the others
        elif path[0] == "schedules" and len(path) > 1:
            _drop(rest, path[:2])
        elif path[:2] == ("control_api", "token_file"):
            rest.pop("control_api")
        else:
            _drop(rest, path)
    return rest


def _drop(block: dict[str, Any], path: KeyPath) -> None:
    """Remove the value at a path, or the list or text that the path leads into."""
    for key in path[:-1]:
        if not isinstance(block.get(str(key)), dict):
            block.pop(str(key), None)
            return
        block = block[str(key)]
    block.pop(str(path[-1]), None)


def _blocks(value: Any) -> list[dict[str, Any]]:
    """The blocks of keys inside a value, whatever it is."""
    return [block for block in value.values() if isinstance(block, dict)] if isinstance(value, dict) else []


def _missing_files(settings: Settings, origins: Origins, environ: Mapping[str, str]) -> Iterator[Fault]:
    """Faults of the files that settings name and that must be there already."""
    if settings.control_api.token_file is not None:
        try:
            read_token(settings.control_api.token_file, environ)
        except ValueError as fault:
            yield origins.fault(("control_api", "token_file"), str(fault))
    model = settings.engine.model
    if model.startswith("/") and not Path(model).exists():
        wrong = f"found {model!r}, which does not exist; name a model's folder, a name that vLLM can load, or auto"
        yield origins.fault(("engine", "model"), wrong)
