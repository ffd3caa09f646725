"""The control API's listening socket, taken before any engine starts, so that a taken port is found out first."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from reconfigure_daemon.errors import PortInUse, SettingsInvalid
from reconfigure_daemon.settings.model import ControlApiSettings


def listen(settings: ControlApiSettings) -> socket.socket:
    """A listening TCP socket.

    Raises:
        PortInUse: if somebody else listens there.
        SettingsInvalid: if the address is not one of this machine's, or the port is not ours to take.
    """
    where = f"{settings.host}:{settings.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), settings.port), family=family)
    except socket.gaierror as fault:
        raise SettingsInvalid([f"control_api.host: {settings.host!r} is no address ({fault.strerror})"]) from fault
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"another program listens on {where}, where the control API is to answer; stop it (find it with: "
                f"ss -ltnp 'sport = :{settings.port}'), or choose another control_api.port"
            ) from fault
        reason = os.strerror(fault.errno) if fault.errno else str(fault)
        raise SettingsInvalid([f"control_api: cannot listen on {where} ({reason}); choose another host or port"]) from (
            fault
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name counts if it is `localhost`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
