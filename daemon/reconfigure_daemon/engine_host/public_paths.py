"""What clients cannot reach on vLLM's port: its endpoints for development, training and profiling.

vLLM registers most of them with VLLM_SERVER_DEV_MODE, which the engine host does not pass on, and others with a
profiler or an elastic deployment. They put cores to sleep, empty caches, swap weights and call any method of a worker,
so they are refused here whatever registered them. vLLM takes this class by its own `--middleware`.

Once the host has begun to stop, whatever asks for work is told to come back later; looking is still answered.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Application = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

#: How vLLM finds the class.
MIDDLEWARE = f"{__name__}.PublicPathsOnly"

#: The variable that makes vLLM register its endpoints for development.
DEV_MODE_VARIABLE = "VLLM_SERVER_DEV_MODE"

_CACHES_AND_SLEEP = """
/sleep /wake_up /is_sleeping /release_kv_cache_memory /reset_prefix_cache /reset_mm_cache /reset_encoder_cache
"""
_WORKERS = "/collective_rpc /server_info /start_profile /stop_profile /scale_elastic_ep /is_scaling_elastic_ep"
_TRAINING = """
/pause /resume /abort_requests /is_paused /init_weight_transfer_engine /shutdown_weight_transfer_engine
/start_weight_update /start_draft_weight_update /update_weights /finish_weight_update /update_weight_version
/weight_info /weight_checker /get_world_size
"""
_FAULT_TOLERANCE = "/fault_tolerance/apply /fault_tolerance/status"

REFUSED_PATHS = frozenset(f"{_CACHES_AND_SLEEP} {_WORKERS} {_TRAINING} {_FAULT_TOLERANCE}".split())

#: What a client that was turned away is told to wait: an engine is seldom back sooner.
RETRY_AFTER_S = 10
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})


class Door:
    """Whether new work is taken; vLLM makes the middleware itself, so the host and the middleware share one."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        """Take no new work from now on."""
        self.closed = True


#: The process's own: it serves one port.
DOOR = Door()


class PublicPathsOnly:
    """Answers in the application's place: 404 for what is not public, 503 for new work behind a closed door."""

    def __init__(self, app: Application, door: Door = DOOR) -> None:
        self._app = app
        self._door = door

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """One connection, by the ASGI."""
        if scope["type"] == "http" and is_refused(scope["path"], scope.get("root_path", "")):
            await _refuse(send, 404, "NotFoundError", "Not Found")
        elif scope["type"] == "http" and self._door.closed and scope["method"] not in _LOOKING:
            await _refuse(send, 503, "ServiceUnavailableError", _STOPPING, (b"retry-after", b"%d" % RETRY_AFTER_S))
        else:
            await self._app(scope, receive, send)


def is_refused(path: str, root_path: str = "") -> bool:
    """Whether a path, below the one that a proxy may put in front, is no client's business."""
    return path.removeprefix(root_path).rstrip("/") in REFUSED_PATHS or path.rstrip("/") in REFUSED_PATHS


_STOPPING = f"The server is stopping and takes no new requests. Send this one again in {RETRY_AFTER_S} seconds."


async def _refuse(
    send: Callable[[Message], Awaitable[None]], status: int, kind: str, words: str, *more: tuple[bytes, bytes]
) -> None:
    error = {"message": words, "type": kind, "param": None, "code": status}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
