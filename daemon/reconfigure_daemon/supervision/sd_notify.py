"""systemd's notifications, as sd_notify(3) describes them: one datagram per message to NOTIFY_SOCKET."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager how the daemon is; does nothing where there is none.

    Args:
        environ: NOTIFY_SOCKET is a path, or `@name` for an abstract socket; WATCHDOG_USEC and WATCHDOG_PID say
            whether and how often the manager expects a sign of life.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_interval_s = _watchdog_interval_s(environ)

    def ready(self) -> None:
        """Start-up or a reload is complete."""
        self._send("READY=1")

    def status(self, sentence: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(sentence.split()))

    def watchdog(self) -> None:
        """A sign of life; send it at least every `watchdog_interval_s`."""
        if self.watchdog_interval_s is not None:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a stuck manager must not stop the loop
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("the service manager was not told %s: %s", message.split("\n")[0], error)


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Half of what the manager allows, as sd_watchdog_enabled(3) advises; None if it does not ask for signs of life."""
    allowed_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    meant_for_us = not pid or pid == str(os.getpid())
    if not (allowed_us.isdigit() and int(allowed_us) > 0 and meant_for_us):
        return None
    return int(allowed_us) / 2e6
