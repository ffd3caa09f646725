"""The cards as NVML shows and sets them: the second of the two places that import pynvml, and the only one that sets.

NVML tells no lock of the clocks back. What can be read is the clock at which the SMs run, which a lock bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from reconfigure_daemon.device_helper.refusal import Refused

#: A card that was just locked may still run faster for this long.
LONGEST_SETTLING_S = 1.0
_LOOK_EVERY_S = 0.02

#: Clocks come in steps of this size, so a card that runs at most this much faster obeys.
CLOCK_STEP_MHZ = 15

_GONE = (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_Uninitialized, pynvml.NVMLError_InvalidArgument)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU as it is now; None or nothing where the driver does not tell.

    Attributes:
        fault: why it cannot be read; None while it answers.
        sm_clock_mhz: what its SMs run at.
        clocks_mhz: SM clocks that it supports at its fastest memory clock, ascending.
        power_limit_w: the limit in force.
        power_range_w: the least and most that the limit may be.
    """

    uuid: str
    index: int
    fault: str | None = None
    sm_clock_mhz: int | None = None
    clocks_mhz: tuple[int, ...] = ()
    power_limit_w: float | None = None
    power_range_w: tuple[float, float] | None = None


class Cards:
    """Every GPU of the machine, by UUID: indices move when one falls off the bus."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._uuids: list[str] | None = None
        self._known: dict[int, str] = {}

    def all(self) -> list[Card]:
        """Every card as it is now.

        Raises:
            Refused: if NVML does not start, or there is no card.
        """
        cards = [self._read(uuid, index) for index, uuid in enumerate(self._session())]
        if any(card.fault for card in cards):
            self.close()  # a new session alone looks for lost cards again
        return cards

    def lock_clock(self, uuid: str, most_mhz: int) -> None:
        """Keep the SM clock at or below a value, and see that the card obeys; it may still idle slower.

        Raises:
            Refused: if it does not; its lock is then as the driver left it.
        """
        least_mhz = self.one(uuid).clocks_mhz[0]
        with _as_refusal(f"{uuid} does not take a clock of {most_mhz} MHz"):
            pynvml.nvmlDeviceSetGpuLockedClocks(self._handle(uuid), least_mhz, most_mhz)
        waited_s = 0.0
        while not obeys(found := self.one(uuid), most_mhz):
            if waited_s >= LONGEST_SETTLING_S:
                raise Refused(
                    f"{uuid} took a clock of {most_mhz} MHz and runs at {found.sm_clock_mhz} MHz all the same",
                    by_card=True,
                )
            self._sleep(_LOOK_EVERY_S)
            waited_s += _LOOK_EVERY_S

    def unlock_clock(self, uuid: str) -> None:
        """Let the card choose its clock.

        Raises:
            Refused: if the driver does not.
        """
        with _as_refusal(f"{uuid} does not let go of its clock"):
            pynvml.nvmlDeviceResetGpuLockedClocks(self._handle(uuid))

    def limit_power(self, uuid: str, most_w: float) -> None:
        """Set the power limit and read it back.

        Raises:
            Refused: if the card does not take it.
        """
        with _as_refusal(f"{uuid} does not take a power limit of {most_w:g} W"):
            pynvml.nvmlDeviceSetPowerManagementLimit(self._handle(uuid), round(most_w * 1000))
        found_w = self.one(uuid).power_limit_w
        if found_w is None or abs(found_w - most_w) > 1:
            raise Refused(f"{uuid} took a power limit of {most_w:g} W and has one of {found_w} W", by_card=True)

    def default_limit_w(self, uuid: str) -> float | None:
        """The power limit that the card leaves the factory with."""
        return _told(lambda: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(self._handle(uuid)) / 1000)

    def one(self, uuid: str) -> Card:
        """One card as it is now.

        Raises:
            Refused: if it is not there or does not answer.
        """
        uuids = self._session()
        if uuid not in uuids:
            raise Refused(f"there is no GPU {uuid}; there are: {', '.join(uuids)}")
        card = self._read(uuid, uuids.index(uuid))
        if card.fault is not None:
            self.close()
            raise Refused(f"{uuid} does not answer ({card.fault})", by_card=True)
        return card

    def close(self) -> None:
        """End the NVML session; may be called twice."""
        self._uuids = None
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _session(self) -> list[str]:
        if self._uuids is None:
            with _as_refusal("NVML does not start; is the NVIDIA driver loaded?"):
                pynvml.nvmlInit()
                self._uuids = [self._uuid(index) for index in range(pynvml.nvmlDeviceGetCount())]
        if not self._uuids:
            self.close()
            raise Refused("the driver shows no GPU")
        return self._uuids

    def _uuid(self, index: int) -> str:
        """A card's UUID; that which was there before, where it does not answer."""
        try:
            self._known[index] = str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
        except pynvml.NVMLError:
            return self._known.get(index, f"gpu{index}")
        return self._known[index]

    def _handle(self, uuid: str) -> Any:
        self._session()
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)

    def _read(self, uuid: str, index: int) -> Card:
        try:
            handle = self._handle(uuid)
            limits_mw = _told(lambda: pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle))
            limit_mw = _told(lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle))
            return Card(
                uuid,
                index,
                sm_clock_mhz=_told(lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
                clocks_mhz=tuple(sorted(set(_told(lambda: _clocks_mhz(handle)) or ()))),
                power_limit_w=None if limit_mw is None else limit_mw / 1000,
                power_range_w=None if limits_mw is None else (limits_mw[0] / 1000, limits_mw[1] / 1000),
            )
        except pynvml.NVMLError as error:
            return Card(uuid, index, fault=str(error))


def obeys(card: Card, most_mhz: int) -> bool:
    """Whether a card runs as a lock wants it to, as far as it tells."""
    return card.sm_clock_mhz is None or card.sm_clock_mhz <= most_mhz + CLOCK_STEP_MHZ


def _clocks_mhz(handle: Any) -> list[int]:
    fastest_memory_mhz = max(pynvml.nvmlDeviceGetSupportedMemoryClocks(handle))
    return list(pynvml.nvmlDeviceGetSupportedGraphicsClocks(handle, fastest_memory_mhz))


def _told(ask: Callable[[], _T]) -> _T | None:
    """What the driver answers; None where it never does. A card that is gone is another matter and is raised."""
    try:
        return ask()
    except _GONE:
        raise
    except pynvml.NVMLError:
        return None


@contextmanager
def _as_refusal(what: str) -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError_NoPermission as error:
        raise Refused(f"{what}: {error}; the helper needs CAP_SYS_ADMIN", by_card=True) from error
    except pynvml.NVMLError as error:
        raise Refused(f"{what}: {error}", by_card=True) from error
