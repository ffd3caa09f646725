"""The server that is replayed against: where it is, and what it says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp

from reconfigure_daemon.errors import ReconfigureError

#: Every tokenizer in use has at least this many ids, so prompts below it are valid without knowing the model's.
SAFE_VOCAB_SIZE = 32_000

_ASK_TIMEOUT_S = 10.0


class TargetUnavailable(ReconfigureError):
    """No OpenAI server answers at the target's address."""

    kind = "target_unavailable"
    status = 503


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how requests are sent.

    Attributes:
        url: of the server, without `/v1`.
        model: the name it serves.
        vocab_size: prompts use token ids below this.
        seed: of prompts and of sampling.
        temperature: 0 is greedy.
        timeout_s: the longest that one request may take from when it is sent.
        keep_output: ask for token ids and keep what comes; adds the ids to every event, and the prompt's to the first.
        api_key: sent as a bearer token; "" for none.
    """

    url: str
    model: str
    vocab_size: int = SAFE_VOCAB_SIZE
    seed: int = 0
    temperature: float = 0.0
    timeout_s: float = 600.0
    keep_output: bool = False
    api_key: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What every request to the server carries."""
        return bearer(self.api_key)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What the server says of itself.

    Attributes:
        name: of the model to ask for.
        max_model_len: most tokens of prompt and output together, None if it does not say.
        server_version: vLLM's, None for a server without `/version`.
    """

    name: str
    max_model_len: int | None
    server_version: str | None


def bearer(api_key: str) -> dict[str, str]:
    """The header that authorises, none without a key."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


async def ask_served_model(url: str, model: str | None = None, api_key: str = "") -> ServedModel:
    """Ask `/v1/models` and `/version`.

    Args:
        url: of the server, without `/v1`.
        model: the one wanted, None for the first that is listed.
        api_key: sent as a bearer token; "" for none.

    Raises:
        TargetUnavailable: if nobody answers, the model is not among those listed, or none is listed nor named.
    """
    timeout = aiohttp.ClientTimeout(total=_ASK_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout, headers=bearer(api_key)) as session:
            listed = await _get_json(session, f"{url}/v1/models")
            version = await _get_json(session, f"{url}/version")
    except (aiohttp.ClientError, TimeoutError, OSError) as fault:
        raise TargetUnavailable(
            f"no OpenAI server answers at {url} ({_why(fault)}); start one "
            "(`reconfigure serve`) or name another with --url"
        ) from fault
    server_version = version.get("version") if isinstance(version, dict) else None
    return _choose(url, model, _cards(listed), server_version)


async def _get_json(session: aiohttp.ClientSession, url: str) -> Any:
    """The answer's JSON; None for an answer that is none."""
    async with session.get(url) as response:
        if response.status != HTTPStatus.OK:
            return None
        try:
            return await response.json(content_type=None)
        except ValueError:
            return None


def _cards(listed: Any) -> dict[str, dict[str, Any]]:
    """The listed models by name; empty for anything that is no list of models."""
    cards = listed.get("data") if isinstance(listed, dict) else None
    return {card["id"]: card for card in cards or () if isinstance(card, dict) and "id" in card}


def _choose(url: str, model: str | None, cards: dict[str, dict[str, Any]], version: str | None) -> ServedModel:
    if not cards and model is None:
        raise TargetUnavailable(
            f"{url}/v1/models lists no model; name one with --model, and set OPENAI_API_KEY if the server wants a key"
        )
    if cards and model is not None and model not in cards:
        raise TargetUnavailable(f"{url} does not serve {model!r}; it serves: {', '.join(cards)}")
    name = model or next(iter(cards))
    return ServedModel(name, cards.get(name, {}).get("max_model_len"), version)


def _why(fault: Exception) -> str:
    """What kept a server from answering, in the system's words: `Connection refused`."""
    cause = fault.os_error if isinstance(fault, aiohttp.ClientConnectorError) else fault
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    return str(cause) or type(cause).__name__
