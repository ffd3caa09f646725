"""Errors named for the promise that was broken; each keeps its facts and says what to do.

An error that an operator may see says what was found, what is allowed and what to do. The control API turns
`status` into an HTTP status, and the CLI turns any of these into one line and an exit code.
"""

from __future__ import annotations

from pathlib import Path


class ReconfigureError(Exception):
    """The base of every error that is shown to an operator; `kind` is stable and machine-readable."""

    kind = "error"
    status = 500


class SettingsInvalid(ReconfigureError):
    """`config.yaml` has faults; all of them, each with its line.

    Attributes:
        faults: one sentence each, beginning with `file:line:`.
    """

    kind = "settings_invalid"
    status = 400

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))

    def listed(self) -> str:
        """The faults under their number, one a line, for people."""
        return f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''} in the settings\n{self}"


class EngineHostUnreachable(ReconfigureError):
    """Nobody answers on the private socket."""

    kind = "engine_host_unreachable"
    status = 503


class EngineHostFault(ReconfigureError):
    """The engine host refused or failed a command; its own words are the message."""

    kind = "engine_host_fault"
    status = 502


class EngineStartTimeout(ReconfigureError):
    """No engine answered before the deadline."""

    kind = "engine_start_timeout"
    status = 504


class EngineUnavailable(ReconfigureError):
    """vLLM is missing, too old, or cannot find its model; the message holds the command that mends it."""

    kind = "engine_unavailable"
    status = 503


class ActionInProgress(ReconfigureError):
    """Another action runs.

    Attributes:
        action: what runs.
        since: wall-clock seconds since the epoch.
    """

    kind = "action_in_progress"
    status = 409

    def __init__(self, action: str, since: float, message: str) -> None:
        self.action = action
        self.since = since
        super().__init__(message)


class RequestRefused(ReconfigureError):
    """A command makes no sense in the present state, e.g. a rollback with nothing to go back to."""

    kind = "request_refused"
    status = 409


class RequestInvalid(ReconfigureError):
    """A command's own words are wrong."""

    kind = "request_invalid"
    status = 400


class RequestTooSlow(ReconfigureError):
    """A control request whose body does not arrive."""

    kind = "request_too_slow"
    status = 408


class TooManyRequests(ReconfigureError):
    """As many control requests as there is room for are being answered."""

    kind = "too_many_requests"
    status = 503


class PortInUse(ReconfigureError):
    """Somebody else listens where the daemon wants to."""

    kind = "port_in_use"
    status = 500


class DaemonAlreadyRuns(ReconfigureError):
    """Another controller holds the runtime directory.

    Attributes:
        pid: its process, as it wrote it down itself.
    """

    kind = "daemon_already_runs"
    status = 409

    def __init__(self, pid: str, runtime: Path) -> None:
        self.pid = pid
        super().__init__(
            f"a controller with pid {pid} already runs on {runtime}; stop it (kill {pid}; its engine serves on), or "
            "give a second one its own paths.runtime, paths.state and ports in config.yaml"
        )


class RuntimeFolderUnusable(ReconfigureError):
    """The folder for sockets and the controller's lock cannot be made or written.

    Attributes:
        runtime: the folder.
    """

    kind = "runtime_folder_unusable"

    def __init__(self, runtime: Path, fault: OSError) -> None:
        self.runtime = runtime
        super().__init__(
            f"paths.runtime {runtime} cannot be used ({fault.strerror}: {fault.filename}); check its owner, mode"
            " and mount, or name another one in config.yaml"
        )


class EssentialTaskDied(ReconfigureError):
    """A task without which the daemon is no use kept failing.

    Attributes:
        task: its name.
        failures: how often in a row.
    """

    kind = "essential_task_died"

    def __init__(self, task: str, failures: int, error: Exception) -> None:
        self.task = task
        self.failures = failures
        words = str(error) if isinstance(error, ReconfigureError) else f"{type(error).__name__}: {error}"
        times = "" if failures == 1 else f" {failures} times in a row"
        super().__init__(f"{task} failed{times}: {words}")


class Unauthorised(ReconfigureError):
    """A control request without the right token."""

    kind = "unauthorised"
    status = 401


class OriginRefused(ReconfigureError):
    """A control request that a foreign web page could have sent."""

    kind = "origin_refused"
    status = 403


class DaemonUnreachable(ReconfigureError):
    """The CLI found no daemon; exit code 3."""

    kind = "daemon_unreachable"
    status = 503
