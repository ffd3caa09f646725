"""What every changed card was like before, kept on disk so that no crash can lose it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from reconfigure_daemon.device_helper.refusal import Refused


@dataclass(frozen=True, slots=True)
class Found:
    """A card before its first change.

    Attributes:
        power_limit_w: its limit; None if the limit was not changed.
        clock_locked: whether its clocks were locked since, which NVML cannot tell.
    """

    power_limit_w: float | None = None
    clock_locked: bool = False


class RestoreFileDamaged(Exception):
    """The file cannot be understood; something was changed, and nobody knows what."""


class RestoreFile:
    """The file. It is there while any card differs from how it was found, and says so before the card is changed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Found]:
        """Changed cards by UUID; none without a file.

        Raises:
            RestoreFileDamaged: if it holds something else.
        """
        try:
            cards = json.loads(self.path.read_text())["cards"]
            return {str(uuid): _found(facts) for uuid, facts in cards.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RestoreFileDamaged(f"{self.path} is damaged ({error})") from error

    def write(self, cards: Mapping[str, Found]) -> None:
        """Replace it, on the disk itself when this returns; without cards it is removed.

        Raises:
            Refused: if the disk does not take it; the file is as it was.
        """
        fresh = self.path.with_suffix(".new")
        try:
            if cards:
                _write_through(fresh, json.dumps({"cards": {uuid: asdict(found) for uuid, found in cards.items()}}))
                fresh.replace(self.path)
            else:
                self.path.unlink(missing_ok=True)
            _sync_folder(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise Refused(
                f"the restore file {self.path} cannot be written ({error.strerror}), so nothing is changed"
            ) from error

    def set_aside(self) -> Path:
        """Keep a damaged file under another name, for whoever wants to look."""
        aside = self.path.with_suffix(".damaged")
        self.path.replace(aside)
        return aside


def _found(facts: Mapping[str, object]) -> Found:
    limit_w = facts["power_limit_w"]
    if not (limit_w is None or isinstance(limit_w, float | int)):
        raise TypeError(f"power_limit_w is {limit_w!r}")
    return Found(limit_w, bool(facts["clock_locked"]))


def _write_through(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
