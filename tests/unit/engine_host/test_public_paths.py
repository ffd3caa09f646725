"""vLLM's endpoints for development are no client's business, whatever registered them."""

from __future__ import annotations

import pytest

from reconfigure_daemon.engine_host import arguments
from reconfigure_daemon.engine_host.public_paths import MIDDLEWARE, REFUSED_PATHS, Door, PublicPathsOnly, is_refused
from reconfigure_daemon.settings import Settings


async def asked(path, kind="http", root_path=""):
    """The status that a client sees, 200 being the application's own."""
    sent = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    await PublicPathsOnly(application)({"type": kind, "path": path, "root_path": root_path}, None, send)
    return sent[0]["status"]


@pytest.mark.parametrize("path", sorted(REFUSED_PATHS))
async def test_what_commands_a_core_is_not_found(path):
    """With and without a slash at the end, and below a proxy's own path."""
    assert await asked(path) == await asked(path + "/") == await asked("/engine" + path, root_path="/engine") == 404


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/models", "/health", "/metrics", "/tokenize", "/ping", "/v1/sleep"]
)
async def test_what_clients_use_is_passed_on(path):
    """The OpenAI surface, probes and metrics are vLLM's own, untouched."""
    assert await asked(path) == 200


async def test_what_is_not_http_is_passed_on():
    """The application's start and end come by the same way."""
    assert await asked("/sleep", kind="lifespan") == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/chat/completions", 503), ("GET", "/health", 200), ("GET", "/metrics", 200), ("POST", "/sleep", 404)],
)
async def test_a_host_that_stops_takes_no_new_work(method, path, status):
    """Clients are told so in a sentence, and when to come back; probes and figures are still answered."""
    door, sent = Door(), []
    door.close()

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    await PublicPathsOnly(application, door)(scope, None, send)
    assert sent[0]["status"] == status
    if status == 503:
        assert dict(sent[0]["headers"])[b"retry-after"] == b"10"
        assert b"is stopping and takes no new requests. Send this one again in 10 seconds." in sent[1]["body"]


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_everything_that_vllm_registers_for_development_is_refused():
    """The list is complete for the vLLM that is installed, and vLLM is told to use it."""
    from fastapi import FastAPI
    from vllm.entrypoints.rl.factories import register_rl_api_routers
    from vllm.entrypoints.serve import register_vllm_dev_api_routers
    from vllm.entrypoints.serve.elastic_ep.api_router import attach_router

    application = FastAPI(openapi_url=None)
    register_vllm_dev_api_routers(application)
    register_rl_api_routers(application)
    attach_router(application)
    paths = {route.path for route in application.routes}
    assert len(paths) > 15
    assert {path for path in paths if not is_refused(path)} == set()
    settings = Settings.model_validate({"space": {"block_size": {"values": [32]}}})
    parsed = arguments.parse(
        arguments.command_line(settings, settings.configuration_space().default(), "facebook/opt-125m")
    )
    assert parsed.middleware == [MIDDLEWARE]
