"""What clients reach of a real vLLM, and what it writes down of them."""

from __future__ import annotations

import aiohttp
import pytest

from tests.engine.real_host import MODEL

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

CANARY = "the canary sang a verse that nobody may write down 7f3a9c"


async def test_endpoints_for_development_are_not_there(host):
    """Started with VLLM_SERVER_DEV_MODE=1, a host still lets nobody outside put a core to sleep or call its methods."""
    paths = {"post": ["/sleep", "/wake_up", "/reset_prefix_cache", "/collective_rpc", "/start_profile", "/pause"]}
    paths["get"] = ["/server_info", "/is_sleeping"]
    async with aiohttp.ClientSession(host.url) as session:
        for method, each in paths.items():
            for path in each:
                async with session.request(method, path, json={}) as answer:
                    assert (path, answer.status) == (path, 404)
        async with session.get("/health") as answer:
            assert answer.status == 200
        async with session.get("/openapi.json") as answer:
            assert "/sleep" not in (await answer.json())["paths"]  # it was not even registered


async def test_a_prompt_is_written_down_nowhere(host):
    """Neither the host's log nor its metrics hold what a client asked or was answered."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": CANARY}], "max_tokens": 4}
    async with aiohttp.ClientSession(host.url) as session:
        async with session.post("/v1/chat/completions", json=body) as answer:
            assert answer.status == 200
        async with session.post("/v1/chat/completions", json={**body, "max_tokens": -1}) as answer:
            assert answer.status == 400
        async with session.get("/metrics") as answer:
            assert CANARY not in await answer.text()
    assert CANARY not in host.log.read_text()
    kept = [path for path in host.log.parent.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert kept == []
