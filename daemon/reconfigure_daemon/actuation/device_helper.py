"""Speaks to the device helper, the privileged process that sets clocks and power limits of GPUs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

#: A card that was just locked is watched for up to a second by the helper, and there may be eight of them.
ANSWER_TIMEOUT_S = 10.0

#: Its answers hold a card in a few hundred bytes.
_MOST_ANSWER_BYTES = 1024 * 1024


class DeviceHelperUnreachable(Exception):
    """Nobody answers; the message says what to do."""


class DeviceRefused(Exception):
    """The helper, or the card through it, said no in its own words.

    Attributes:
        by_card: whether the card or its driver refused, so that asking again is of no use.
    """

    def __init__(self, message: str, by_card: bool) -> None:
        super().__init__(message)
        self.by_card = by_card


class CardState(BaseModel):
    """One GPU as the helper shows it.

    Attributes:
        fault: why it does not answer; None while it does.
        clock_mhz, power_cap_w: what is in force of what was set; 0 where nothing is.
        holder: who set it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    uuid: str
    fault: str | None = None
    clock_mhz: int = 0
    power_cap_w: float = 0
    holder: str | None = None


class CardsState(BaseModel):
    """Every GPU of the machine, in the driver's order; `helper` tells one life of the helper from another."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    helper: str
    gpus: list[CardState]


@dataclass(frozen=True, slots=True)
class DeviceHelperClient:
    """One daemon's way to the helper; a connection for each request.

    Attributes:
        path: the helper's socket.
        holder: by which name this daemon holds cards; the same after a restart.
        lease_s: how long they stay set if it is not heard of.
    """

    path: Path
    holder: str
    lease_s: float

    async def renew(self) -> CardsState:
        """Hold on to what is held, and see every card.

        Raises:
            DeviceHelperUnreachable, DeviceRefused: if there is no helper, or none that can see the cards.
        """
        return await self._ask(do="renew", holder=self.holder, lease_s=self.lease_s)

    async def set_clock(self, uuids: list[str], most_mhz: int) -> CardsState:
        """Lock the SM clock of cards, all or none. Raises as `renew`."""
        return await self._ask(do="set_clock", holder=self.holder, gpus=uuids, mhz=most_mhz, lease_s=self.lease_s)

    async def set_power_cap(self, uuids: list[str], most_w: float) -> CardsState:
        """Limit the power of cards, all or none. Raises as `renew`."""
        return await self._ask(do="set_power_cap", holder=self.holder, gpus=uuids, w=most_w, lease_s=self.lease_s)

    async def _ask(self, **request: Any) -> CardsState:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                line = await self._exchange(json.dumps(request).encode() + b"\n")
        except TimeoutError as silence:
            raise self._unreachable(f"it did not answer within {ANSWER_TIMEOUT_S:g} s") from silence
        except (OSError, ValueError) as fault:
            reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
            raise self._unreachable(reason) from fault
        return self._parsed(line)

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=_MOST_ANSWER_BYTES)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()

    def _parsed(self, line: bytes) -> CardsState:
        try:
            answer = json.loads(line)
            if isinstance(answer, dict) and "refused" in answer:
                raise DeviceRefused(str(answer["refused"]), bool(answer.get("by_card")))
            return CardsState.model_validate(answer)
        except (ValueError, ValidationError) as fault:
            raise self._unreachable("what answers there is no device helper of this version") from fault

    def _unreachable(self, reason: str) -> DeviceHelperUnreachable:
        return DeviceHelperUnreachable(
            f"no device helper answers at {self.path} ({reason}); start it with `systemctl start"
            " reconfigure-device-helper` and let this user's group open its socket, or set device.enabled to false"
        )
