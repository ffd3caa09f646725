"""The joules of an emulated engine: its own model's, asked for over its private socket."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from pydantic import TypeAdapter

from reconfigure_daemon.metering.ledger import CounterDifference, DeviceLedger
from reconfigure_policies.domain.energy import DeviceEnergy, EnergyReading, EnergySource

_READING = TypeAdapter(EnergyReading)

#: An emulated engine answers within a millisecond or two; the control loop does not wait long for one that hangs.
_TIMEOUT_S = 0.2


class EmulatedEngine:
    """The device `gpu0` of a machine that is not there; always an estimate.

    Args:
        path: the private socket of the engine host, whichever answers there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._difference = CounterDifference()
        self._ledger = DeviceLedger("gpu0")

    def read(self, at_s: float) -> tuple[DeviceEnergy, ...]:
        """Joules so far; unknown while nobody answers. What a host spends before its first reading is not counted."""
        try:
            counter_j = self._ask()
        except (OSError, http.client.HTTPException, ValueError):
            step_j = None
        else:
            step_j = self._difference.step(at_s, counter_j)
        return (self._ledger.book(at_s, step_j, EnergySource.ESTIMATED),)

    def close(self) -> None:
        """Nothing is held: each reading has its own connection, which costs microseconds."""

    def _ask(self) -> float:
        connection = _UnixConnection(self._path)
        try:
            connection.request("GET", "/v1/energy")
            return _READING.validate_json(connection.getresponse().read()).energy_j
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine-host", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))
