"""vLLM's front end, made by vLLM, on the core router."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from reconfigure_daemon.engine_host.core_router import CoreRouter
from reconfigure_daemon.engine_host.cores import Core
from reconfigure_daemon.engine_host.host import VllmHost


def engine_on_router(host: VllmHost, core: Core, parsed: Namespace) -> Any:
    """VLLM's `AsyncLLM`, made by vLLM, whose engine core is the router."""
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.core_client import EngineCoreClient

    original = EngineCoreClient.make_async_mp_client

    def router(*_: Any, **__: Any) -> CoreRouter | None:
        return host.router

    EngineCoreClient.make_async_mp_client = staticmethod(router)
    try:
        engine = AsyncLLM.from_vllm_config(
            vllm_config=core.config, usage_context=UsageContext.OPENAI_API_SERVER,
            enable_log_requests=parsed.enable_log_requests, disable_log_stats=parsed.disable_log_stats,
            aggregate_engine_logging=parsed.aggregate_engine_logging,
        )  # fmt: skip
    finally:
        EngineCoreClient.make_async_mp_client = original
    if host.router is not None:
        host.router.on_client_left = lambda request_id: engine.output_processor.abort_requests([request_id], True)
    return engine
