"""Joules of a replay, as the controller accounts for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from reconfigure_daemon.load_generation.target import bearer

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


class _Energy(BaseModel):
    model_config = ConfigDict(extra="ignore")

    source: Literal["measured", "integrated", "estimated", "unknown"]
    energy_j: float | None


class _Status(BaseModel):
    """The part of the control API's status that matters here; the rest may change without breaking a replay."""

    model_config = ConfigDict(extra="ignore")

    pid: int
    energy: _Energy


@dataclass(frozen=True, slots=True)
class Controller:
    """Where the control API is, and the token it wants beyond loopback; "" for none."""

    url: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class EnergyMark:
    """The controller's energy counter at one moment.

    Attributes:
        controller_pid: tells one controller's counter from the next one's.
        energy_j: joules since that controller started, None if it could not be read.
        source: `measured`, `integrated`, `estimated` or `unknown`.
        fault: why it could not be read, else "".
    """

    controller_pid: int | None
    energy_j: float | None
    source: str
    fault: str = ""


class EnergyAccount(BaseModel):
    """What a replay took. Everything the controller meters counts: prefill, idle time, and any other client's work.

    Attributes:
        energy_j: joules between the first and the last reading, None if unknown.
        source: how it was obtained, `unknown` without a figure.
        energy_per_output_token_j: joules over the replay's output tokens, None if unknown.
        reason: why there is no figure, else "".
    """

    model_config = ConfigDict(frozen=True)

    energy_j: float | None
    source: str
    energy_per_output_token_j: float | None
    reason: str = ""


async def read_energy(controller: Controller) -> EnergyMark:
    """Read the counter from `/v1/status`; a controller that does not answer is a mark with a fault, never an error."""
    url = controller.url
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, headers=bearer(controller.token)) as session,
            session.get(f"{url}/v1/status", raise_for_status=True) as response,
        ):
            status = _Status.model_validate_json(await response.read())
    except ValidationError:
        return _unread(f"{url}/v1/status is not the controller's")
    except aiohttp.ClientResponseError as refusal:
        return _unread(f"{url}/v1/status answers HTTP {refusal.status}")
    except (aiohttp.ClientError, TimeoutError, OSError):
        return _unread(f"no controller answers at {url}")
    fault = "" if status.energy.energy_j is not None else "the controller has no source of energy readings"
    return EnergyMark(status.pid, status.energy.energy_j, status.energy.source, fault)


def _unread(fault: str) -> EnergyMark:
    return EnergyMark(None, None, "unknown", fault)


def account_energy(before: EnergyMark, after: EnergyMark, output_tokens: int) -> EnergyAccount:
    """The difference of two marks, over the output tokens of a replay that ran between them."""
    if before.energy_j is None or after.energy_j is None:
        return _unknown(before.fault or after.fault)
    if before.controller_pid != after.controller_pid:
        return _unknown("the controller was restarted during the replay, and its counter with it")
    energy_j = after.energy_j - before.energy_j
    per_token_j = energy_j / output_tokens if output_tokens else None
    return EnergyAccount(energy_j=energy_j, source=after.source, energy_per_output_token_j=per_token_j)


def _unknown(reason: str) -> EnergyAccount:
    return EnergyAccount(energy_j=None, source="unknown", energy_per_output_token_j=None, reason=reason)
