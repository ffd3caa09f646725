"""What clients cannot reach on vLLM's port: its endpoints for development, training and profiling.

vLLM registers most of them with VLLM_SERVER_DEV_MODE, which the engine host does not pass on, and others with a
profiler or an elastic deployment. They put cores to sleep, empty caches, swap weights and call any method of a worker,
so they are refused here whatever registered them. vLLM takes this class by its own `--middleware`.
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


class PublicPathsOnly:
    """Answers 404 in the application's place for what is not public."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """One connection, by the ASGI."""
        if scope["type"] == "http" and is_refused(scope["path"], scope.get("root_path", "")):
            await _not_found(send)
        else:
            await self._app(scope, receive, send)


def is_refused(path: str, root_path: str = "") -> bool:
    """Whether a path, below the one that a proxy may put in front, is no client's business."""
    return path.removeprefix(root_path).rstrip("/") in REFUSED_PATHS or path.rstrip("/") in REFUSED_PATHS


async def _not_found(send: Callable[[Message], Awaitable[None]]) -> None:
    error = {"message": "Not Found", "type": "NotFoundError", "param": None, "code": 404}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
