"""One line of JSON each way: what may be asked, and how it is answered. No I/O.

    {"do": "read"}
    {"do": "set_clock", "holder": WHO, "gpus": [UUID, ...], "mhz": 1200, "lease_s": 30}       0 unlocks
    {"do": "set_power_cap", "holder": WHO, "gpus": [UUID, ...], "w": 400, "lease_s": 30}      0 is the limit found
    {"do": "renew", "holder": WHO, "lease_s": 30}
    {"do": "restore", "holder": WHO}

Every answer but a refusal, `{"refused": SENTENCE, "by_card": BOOL}`, is `{"helper": ID, "gpus": [...]}` with all cards
as they are then; `helper` tells one life of the helper from another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from reconfigure_daemon.device_helper.cards import Card
from reconfigure_daemon.device_helper.custody import Custody, Held
from reconfigure_daemon.device_helper.refusal import Refused

MOST_LINE_BYTES = 64 * 1024
LEASE_RANGE_S = (5.0, 600.0)

_FIELDS = {
    "read": (),
    "set_clock": ("holder", "gpus", "mhz", "lease_s"),
    "set_power_cap": ("holder", "gpus", "w", "lease_s"),
    "renew": ("holder", "lease_s"),
    "restore": ("holder",),
}


def answer(line: bytes, custody: Custody, helper_id: str) -> bytes:
    """Carry out one request; whatever is wrong with it is a refusal."""
    try:
        _carry_out(_request(line), custody)
        body: dict[str, Any] = {"helper": helper_id, "gpus": [_shown(card, held) for card, held in custody.cards()]}
    except Refused as refusal:
        body = {"refused": str(refusal), "by_card": refusal.by_card}
    return json.dumps(body).encode() + b"\n"


def _carry_out(request: Mapping[str, Any], custody: Custody) -> None:
    match request["do"]:
        case "set_clock":
            custody.set_clock(request["holder"], request["gpus"], request["mhz"], request["lease_s"])
        case "set_power_cap":
            custody.set_power_cap(request["holder"], request["gpus"], request["w"], request["lease_s"])
        case "renew":
            custody.renew(request["holder"], request["lease_s"])
        case "restore":
            custody.give_up(request["holder"])


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise Refused(f"found {line[:80]!r}; one JSON object in a line is allowed") from error
    kind = request.get("do") if isinstance(request, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise Refused(f"found do={kind!r}; allowed: {', '.join(_FIELDS)}")
    fields = {name: request.get(name) for name in _FIELDS[kind]}
    for name, value in fields.items():
        _check(name, value)
    return {"do": kind, **fields}


def _check(name: str, value: object) -> None:
    """One field's type and range; whether a card allows it is the card's to say."""
    allowed, right = {
        "holder": ("a name", isinstance(value, str) and 0 < len(value) <= 4096),
        "gpus": (
            "a list of UUIDs, each once",
            isinstance(value, list) and bool(value) and _texts(value) and len(set(value)) == len(value),
        ),
        "mhz": ("a whole number from 0", isinstance(value, int) and not isinstance(value, bool) and value >= 0),
        "w": ("a number from 0", _number(value) and value >= 0),  # type: ignore[operator]  # it is one
        "lease_s": (
            "seconds from {:g} to {:g}".format(*LEASE_RANGE_S),
            _number(value) and LEASE_RANGE_S[0] <= value <= LEASE_RANGE_S[1],  # type: ignore[operator]  # it is one
        ),
    }[name]
    if not right:
        raise Refused(f"found {name}={value!r:.80}; {allowed} is allowed")


def _texts(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(card: Card, held: Held | None) -> dict[str, Any]:
    return {
        "uuid": card.uuid,
        "fault": card.fault,
        "clock_mhz": held.clock_mhz if held else 0,
        "power_cap_w": held.power_cap_w if held else 0,
        "holder": held.holder if held else None,
        "sm_clock_mhz": card.sm_clock_mhz,
        "power_limit_w": card.power_limit_w,
    }
