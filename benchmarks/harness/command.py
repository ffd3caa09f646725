"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.harness.background import watched_background
from benchmarks.harness.result import Result, show
from benchmarks.harness.rows import Row
from benchmarks.readme import main as bring_readme_up_to_date
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_daemon.load_generation.event_loop import run_on_fast_loop


@dataclass(slots=True)
class Findings:
    """What a benchmark hands back.

    Attributes:
        rows: the figures.
        notes: what to know of them.
        details: the raw values behind them.
        measured: of raw values that were measured before, maybe elsewhere, each `origin`, or the whole result that has
            it; empty if they were measured here.
    """

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    measured: Sequence[Mapping[str, Any]] = ()


#: Exit code of a process that was interrupted, as shells have it.
INTERRUPTED = 130

Measure = Callable[[argparse.Namespace, Console], Awaitable[Findings]]


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    words = (doc or "").strip()
    parser = argparse.ArgumentParser(
        description=words.splitlines()[0], epilog=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see that it works")
    parser.add_argument("--output", type=Path, help="write the result here instead of benchmarks/results/NAME.json")
    parser.add_argument("--engine", choices=["vllm", "emulated"], default="vllm", help="emulated: no measurement")
    parser.add_argument("--model", default="auto", help="as engine.model in config.yaml (default: auto)")
    return parser


def keep_option(parser: argparse.ArgumentParser, after: str) -> None:
    """Let a long measurement write what it has: `keep` does it.

    Args:
        parser: of the arguments.
        after: each of what.
    """
    parser.add_argument("--keep", type=Path, help=f"write the result so far here, after each {after}")


def keep(name: str, arguments: argparse.Namespace, findings: Findings) -> None:
    """Write the result so far where `--keep` says, so that an interrupted run has not measured in vain."""
    if arguments.keep is not None:
        result_of(name, arguments, findings).write(arguments.keep)


def run(
    named: str | Callable[[argparse.Namespace], str],
    parser: argparse.ArgumentParser,
    measure: Measure,
    argv: Sequence[str] | None = None,
) -> int:
    """Measure, print the table and write the result.

    Args:
        named: the result's name, or what names it by the arguments.
        parser: of the arguments.
        measure: does it.
        argv: the command line, by default this process's own.

    Returns:
        The exit code: 0 if every target was reached, 1 if one was missed or the benchmark could not run, 130 if it
        was interrupted.
    """
    arguments = parser.parse_args(argv)
    console = Console(highlight=False)
    allow_many_streams()
    be_punctual()
    name = named if isinstance(named, str) else named(arguments)
    try:
        findings = run_on_fast_loop(_measured(measure, arguments, console))
    except ReconfigureError as fault:
        print(f"benchmarks.{name}: {fault}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print(
            f"benchmarks.{name}: interrupted; nothing was written, and what it had started has ended", file=sys.stderr
        )
        return INTERRUPTED
    result = result_of(name, arguments, findings)
    show(result, console)
    path = arguments.output or result.path
    if path is not None:
        result.write(path)
        console.print(f"written to {path}")
    if path is not None and path == result.path:
        bring_readme_up_to_date()
    return 0 if result.met else 1


def result_of(name: str, arguments: argparse.Namespace, findings: Findings) -> Result:
    """What was found, with what it was found on and by which arguments."""
    result = Result(
        name,
        arguments.engine,
        findings.rows,
        json_arguments(vars(arguments)),
        findings.notes,
        arguments.quick,
        findings.details,
    )
    return measured_before(result, findings.measured) if findings.measured else result


def measured_before(result: Result, origins: Sequence[Mapping[str, Any]]) -> Result:
    """On the machine of its raw values; date and commit stay those of the evaluation, a note has the measurement's."""
    told = ", ".join(
        f"at {each['date']} by commit {str(each['commit']['id'])[:7]}{' with changes' * each['commit']['dirty']}"
        for each in origins
    )
    notes = [*result.notes, f"Measured {told}."]
    return replace(result, machine=origins[-1]["machine"], versions=origins[-1]["versions"], notes=notes)


async def _measured(measure: Measure, arguments: argparse.Namespace, console: Console) -> Findings:
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started it with Ctrl-C ignored
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with watched_background() as background:
        findings = await measure(arguments, console)
    if findings.measured:
        return findings
    findings.notes.append(f"Meanwhile other processes kept {background.cores:.2f} of the cores busy, on average.")
    findings.details["cores_busy_with_others"] = round(background.cores, 3)
    return findings


def json_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in JSON's types; where the result was written says nothing of the figures."""
    return {name: _in_json(value) for name, value in given.items() if name != "output"}


def _in_json(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else [*map(_in_json, value)] if isinstance(value, list) else value


def allow_many_streams() -> None:
    """Raise the limit of open files, since every stream is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def be_punctual() -> None:
    """Let this process run whenever it is ready, where the system allows it; what it starts does not inherit that.

    It only times others, and a client that waits for a processor would count its own lateness as theirs.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


async def until(
    condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str, interval_s: float = 0.05
) -> None:
    """Poll until something holds.

    Raises:
        BenchmarkStuck: if it does not within the time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110  # other processes set no event
                await asyncio.sleep(interval_s)
    except TimeoutError:
        raise BenchmarkStuck(f"waited {timeout_s:g} s in vain for {what}") from None


class BenchmarkStuck(ReconfigureError):
    """Something that a benchmark waits for did not happen."""

    kind = "benchmark_stuck"
