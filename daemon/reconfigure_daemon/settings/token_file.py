"""The control API's token: one line in a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

#: Shorter tokens can be guessed; 16 bytes are 128 bits when they are random.
LEAST_BYTES = 16

_MAKE_ONE = "(umask 077; openssl rand -hex 32 > {path})"


def read_token(path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The token, without the line's end.

    Args:
        path: the file.
        environ: systemd's CREDENTIALS_DIRECTORY names the folder of credentials. Who may read those is said by access
            lists, whose mask stands where a mode has the group's bits.

    Raises:
        ValueError: if the file is missing, readable to others or too short; the message says how to mend it.
    """
    make_one = "make one with " + _MAKE_ONE.format(path=path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text("ascii").strip()
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "it is not plain ASCII text"
        raise ValueError(f"the token file {path} cannot be read ({reason}); {make_one}") from fault
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    others = 0o037 if credentials and path.is_relative_to(credentials) else 0o077
    if mode & others:
        raise ValueError(f"the token file {path} has mode {mode:o}, so others can use it; run chmod 600 {path}")
    if len(token) < LEAST_BYTES:
        raise ValueError(f"the token in {path} has {len(token)} bytes; at least {LEAST_BYTES} are needed; {make_one}")
    return token
