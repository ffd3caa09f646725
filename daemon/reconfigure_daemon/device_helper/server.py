"""Answers on a Unix socket that one group may open and one user may use, and watches over the leases."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import stat
import struct
import time
import uuid
from pathlib import Path

from reconfigure_daemon.device_helper.cards import Cards
from reconfigure_daemon.device_helper.custody import Custody
from reconfigure_daemon.device_helper.protocol import MOST_LINE_BYTES, answer
from reconfigure_daemon.device_helper.restore_file import RestoreFile

log = logging.getLogger(__name__)

LOOK_AT_LEASES_EVERY_S = 0.5

#: A client that says nothing for this long is let go of; it may come back.
SILENCE_LIMIT_S = 60.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Server:
    """One helper.

    Args:
        custody: what is served.
        users: user ids that may ask beside root; the socket's mode keeps out everybody outside its group before.
    """

    def __init__(self, custody: Custody, users: frozenset[int]) -> None:
        self._custody = custody
        self._users = users | {0}
        self._id = uuid.uuid4().hex[:12]

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a client line by line until it leaves."""
        try:
            refusal = self.stranger(writer.get_extra_info("socket"))
            while line := await asyncio.wait_for(reader.readline(), SILENCE_LIMIT_S):
                writer.write(refusal or answer(line, self._custody, self._id))
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:  # ValueError: a line beyond the limit
            log.debug("a client is let go of: %s", error)
        finally:
            writer.close()

    async def watch_leases(self) -> None:
        """Put back what nobody renews."""
        while True:
            await asyncio.sleep(LOOK_AT_LEASES_EVERY_S)
            self._custody.expire()

    def stranger(self, connection: socket.socket) -> bytes | None:
        """A refusal for whoever may not ask."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid in self._users:
            return None
        log.warning("process %d of user %d was refused", pid, uid)
        allowed = ", ".join(map(str, sorted(self._users)))
        refused = f"user {uid} may not set GPUs; users {allowed} may"
        return json.dumps({"refused": refused, "by_card": False}).encode() + b"\n"


async def run(path: Path, state: Path, users: frozenset[int], group: int | None) -> None:
    """Serve until SIGTERM or SIGINT; every card is as it was found when this returns.

    Raises:
        OSError: if the socket or the folder of the restore file cannot be had.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  # nobody is served yet
    cards = Cards()
    custody = Custody(cards, RestoreFile(state / "restore.json"), time.monotonic)
    listener = listen(path, group)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    custody.take_up()
    server = Server(custody, users)
    accepting = await asyncio.start_unix_server(server.serve_client, sock=listener, limit=MOST_LINE_BYTES)
    watching = asyncio.create_task(server.watch_leases())
    try:
        log.info("GPUs are set for users %s at %s", ", ".join(map(str, sorted(users))), path)
        await asyncio.wait({asyncio.create_task(ended.wait()), watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        accepting.close()
        custody.put_back()
        cards.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  # nobody is served any more


def listen(path: Path, group: int | None) -> socket.socket:
    """A listening socket of mode 660, in the place of one that a killed helper left.

    Raises:
        OSError: if it cannot be had, or another helper answers there.
    """
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(os.fspath(path)) == 0:
                raise FileExistsError(f"another helper answers at {path}")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    # Linux gives the file the mode of the unbound socket less the umask, so it is never open to more than it should be.
    os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
    listener.bind(os.fspath(path))
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP)
    return listener
