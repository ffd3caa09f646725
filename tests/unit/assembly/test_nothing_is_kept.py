"""What clients and operators trust the daemon with stays out of logs, metrics, answers and files."""

from __future__ import annotations

import asyncio
import stat

import aiohttp

PROMPT = "the canary sang a verse that nobody may write down 7f3a9c"
TOKEN = "canary-token-0123456789abcdef"
KEY = "sk-canary-key-0123456789abcdef"
PATHS = ("/v1/status", "/v1/decisions", "/v1/windows", "/v1/schedule", "/v1/openapi.json", "/metrics", "/", "/healthz")


async def test_prompts_keys_and_tokens_are_written_nowhere(start_daemon, config, tmp_path):
    """After requests and commands, good and bad, no file, no answer and no line that was said holds any of them."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    config["control_api"]["token_file"] = "token"
    config["monitoring"] = {"window_s": 1}
    daemon = await start_daemon()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(daemon.url, headers=headers) as control:
        await _until_ready(control)
        answers = [*await _asked_of_the_engine(config["engine"]["port"]), *await _asked_of_the_daemon(control)]
    daemon.process.terminate()
    _, said = await daemon.ended()
    where = {"answers": "\n".join(answers), "log": said}
    where |= {str(path): path.read_bytes().decode("latin-1") for path in _files(tmp_path)}
    assert len(where) > 5
    found = [(name, secret) for name, text in where.items() for secret in (PROMPT, TOKEN, KEY) if secret in text]
    assert found == []


async def test_what_is_kept_is_the_owner_s_alone(start_daemon, runtime):
    """The private socket and the folder around it are closed to everybody else."""
    daemon = await start_daemon()
    await daemon.serving()
    assert stat.S_IMODE((runtime / "engine-host.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700


async def _until_ready(control):
    async with asyncio.timeout(20):
        while True:
            try:
                async with control.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


async def _asked_of_the_engine(port):
    """A request that is served and one that is refused; of the engine's answers only metrics are for others."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {KEY}"}) as client:
        for body in ({"prompt": PROMPT, "max_tokens": 8}, {"prompt": PROMPT, "max_tokens": -8}):
            async with client.post("/v1/completions", json={"model": "emulated", **body}) as answer:
                await answer.read()
        async with client.get("/metrics") as answer:
            return [await answer.text()]


async def _asked_of_the_daemon(control):
    """Every page, a command, and commands that hold secrets where none belongs."""
    answers = []
    for body in ({"kind": "apply", "changes": {"block_size": 32}}, {"kind": "explode"}, {"kind": "rollback"}):
        async with control.post("/v1/intents", json=body) as answer:
            answers.append(await answer.text())
    async with control.get("/v1/status", headers={"Authorization": f"Bearer {KEY}"}) as answer:
        answers.append(await answer.text())
    await asyncio.sleep(1.5)  # a window of what was served is stored
    for path in PATHS:
        async with control.get(path) as answer:
            answers.append(await answer.text())
    return answers


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "token"]
