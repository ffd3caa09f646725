"""Ten thousand malformed requests to the control API, settings files and command lines: no 500, no traceback, no leak.

A fuzzer bends requests byte by byte, schemathesis asks against the API's own description, and settings files and
command lines are bent alike. A token must come back in no answer, and nothing of what was sent may reach the log.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import chdir, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from benchmarks.faults import mutations
from benchmarks.faults.described import against_the_description
from benchmarks.faults.scene import errors_logged, log_length
from benchmarks.harness import command
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.machine import PROJECT
from benchmarks.harness.rows import exactly, shown
from reconfigure_daemon.cli.main import app
from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.settings import load_settings

REQUESTS, DESCRIBED, FILES, LINES = 7200, 2000, 1500, 500

PATIENCE_S = 20.0

#: An answer to a whole request is there sooner; after this a daemon rightly waits for the rest of one.
SOON_S = 1.0

_AT_ONCE = 16


@dataclass(slots=True)
class Tally:
    """What came of a number of malformed things.

    Attributes:
        asked: how many there were.
        kinds: how many got which answer.
        failures: answers with status 500, tracebacks and other ends that nobody meant, in words.
        leaks: answers that repeat a token.
    """

    asked: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def take(self, kind: str, text: str, sent: object, *, failed: bool = False, secret: str = mutations.TOKEN) -> None:
        """Judge one answer."""
        self.asked += 1
        self.kinds[kind] += 1
        if failed or "Traceback" in text:
            self.failures.append(f"{kind}: {str(sent)[:300]} -> {text[:300]}")
        if secret and secret in text and not _is_the_parsers(text):
            self.leaks.append(f"{str(sent)[:300]} -> {text[:300]}")


def _is_the_parsers(answer: str) -> bool:
    """Whether aiohttp's parser answered, which quotes the line that is no HTTP to its sender, and to nobody else."""
    return answer.startswith("HTTP/1.0 400") and "Server: reconfigure" not in answer


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """Everything on one daemon."""
    share = 20 if arguments.quick else 1
    async with Daemon(arguments.engine, arguments.model) as daemon:
        logged = log_length(daemon)
        port = daemon.settings.control_api.port
        requests = await bent_requests(port, REQUESTS // share)
        console.print(f"{requests.asked} bent requests: {dict(requests.kinds)}")
        described, described_failures = await asyncio.to_thread(
            against_the_description, daemon.control_url, DESCRIBED // share
        )
        console.print(f"{described} requests against the description")
        files = bent_settings(FILES // share)
        lines = await asyncio.to_thread(bent_command_lines, daemon.control_url, LINES // share)
        console.print(f"{files.asked} settings files, {lines.asked} command lines: {dict(lines.kinds)}")
        alive = (await daemon.status()).engine is not None
        errors = errors_logged(daemon, logged)
        log = (daemon.folder / "controller.log").read_text(errors="replace")
    tallies = {"requests": requests, "settings files": files, "command lines": lines}
    failures = [each for tally in tallies.values() for each in tally.failures] + described_failures
    leaks = [each for tally in tallies.values() for each in tally.leaks]
    total = requests.asked + described + files.asked + lines.asked
    return command.Findings(
        rows=[
            shown("malformed requests, settings files and command lines", total),
            exactly("answered with status 500, a traceback or no end", len(failures), 0),
            exactly("answers that repeat a token", len(leaks), 0),
            exactly(
                "places in the controller's log that hold a token or what clients wrote",
                log.count(mutations.TOKEN) + log.count(mutations.CANARY),
                0,
            ),
            exactly("errors in the controller's log", len(errors), 0),
            exactly("daemons that serve afterwards", int(alive), 1),
        ],
        notes=[f"{requests.asked} bent requests, {described} against the API's description, {files.asked} settings "
               f"files, {lines.asked} command lines."],
        details={"failures": failures[:50], "leaks": leaks[:50], "errors": errors[:50],
                 "answers": {name: dict(tally.kinds) for name, tally in tallies.items()}},
    )  # fmt: skip


async def bent_requests(port: int, count: int, seed: int = 1) -> Tally:
    """Send bent requests, a connection for each, some at a time."""
    tally, draw = Tally(), random.Random(seed)
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(sent: bytes) -> None:
        async with limit:
            answer = await _answered(port, sent)
        text = answer.decode("latin-1")
        status = text[9:14].split()[0] if text.startswith("HTTP/") else "closed"
        tally.take(status, text, sent, failed=status == "500")

    await asyncio.gather(*[one(mutations.request(draw)) for _ in range(count)])
    return tally


async def _answered(port: int, sent: bytes) -> bytes:
    """What comes back; a request that asks for more to be sent is ended by this side."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
            return await _one_answer(reader)
        return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _one_answer(reader: asyncio.StreamReader) -> bytes:
    """The head, and as much of the body as comes with it."""
    try:
        async with asyncio.timeout(SOON_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        return b"HTTP/1.1 waits"
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S if b"ontent-Length: 0" not in head else 0):
            head += await reader.read(65536)
    return head


def bent_settings(count: int, seed: int = 2) -> Tally:
    """Load bent settings files; each is taken or refused, by name and line."""
    tally, draw = Tally(), random.Random(seed)
    sound = (PROJECT / "config.yaml").read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        for _ in range(count):
            path.write_bytes(mutations.settings(draw, sound))
            kind, text = _ended(lambda: load_settings(path, {}))
            tally.take(kind, text, path.read_bytes(), failed=kind not in ("done", "SettingsInvalid"), secret="")
    return tally


def bent_command_lines(url: str, count: int, seed: int = 3) -> Tally:
    """Run bent command lines; each ends with one of the exit codes that are documented."""
    tally, draw = Tally(), random.Random(seed)
    runner = CliRunner(env={"RECONFIGURE_URL": url, "COLUMNS": "200"})
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # some of them write a file
        for _ in range(count):
            words = mutations.words(draw)
            result = runner.invoke(app, words, prog_name="reconfigure")
            error = result.exception
            failed = result.exit_code not in (0, 1, 2, 3) or (error is not None and not isinstance(error, SystemExit))
            tally.take(f"exit {result.exit_code}", f"{result.output} {error or ''}", words, failed=failed, secret="")
    return tally


def _ended(attempt: Callable[[], object]) -> tuple[str, str]:
    """How it ended, and in which words."""
    try:
        attempt()
    except SettingsInvalid as refusal:
        return "SettingsInvalid", str(refusal)
    except Exception as error:  # noqa: BLE001  # whatever nobody named is what is looked for
        return type(error).__name__, f"{error} {sys.exc_info()[2]}"
    return "done", ""
