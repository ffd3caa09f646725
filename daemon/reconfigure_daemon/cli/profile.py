"""`reconfigure profile`: where the running configuration's time goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from reconfigure_daemon.cli.answers import parsed
from reconfigure_daemon.cli.options import DEFAULT_URL, AsJson, TokenFile, Url, client
from reconfigure_daemon.cli.output import console, print_json, side_console
from reconfigure_daemon.control_api.profiles import ProfileView
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.ports import MOST_PROFILED_S, DeviceProfile
from reconfigure_daemon.profiling.kinds import Kind
from reconfigure_daemon.profiling.picture import drawer

_BAR = 30

#: A daemon that refuses does so sooner.
_AT_ONCE_S = 0.5
_WORDS = {
    Kind.GEMM: "matrix multiplications",
    Kind.ATTENTION: "attention and its KV cache",
    Kind.COLLECTIVE: "communication that nothing hides",
    Kind.OTHER: "norms, activations, sampling, ...",
    Kind.COPY: "copies that nothing hides",
    Kind.IDLE: "idle: host code, pacing, no requests",
}


def profile(
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", min=0.1, max=MOST_PROFILED_S, help="How long to record.")
    ] = 5.0,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it as well, into a file that ends in .html or .png.")
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Where the running configuration's time goes: GEMM, attention, collectives, the rest, and idle gaps.

    Records the engine under the traffic that it has. Streams stand still for a moment afterwards, while the workers
    write their traces down. Needs engine.profiler in config.yaml.
    """
    draw = None if plot is None else drawer(plot)
    api = client(url, token_file)
    with _announced(f"Recording for {seconds:g} s; then the traces are written and read ...", quiet=as_json):
        answer = api.profile(seconds)
    found = parsed(ProfileView, answer)
    if as_json:
        _draw(draw, found, plot)  # first, so that a fault in it is the only document
        print_json(answer)
        return
    _show(found)
    _draw(draw, found, plot)
    if plot is not None:
        console().print(f"Drawn into {plot}.")


@contextmanager
def _announced(words: str, *, quiet: bool) -> Iterator[None]:
    """Says what is waited for, unless the answer, a refusal for one, comes at once."""
    announcement = threading.Timer(_AT_ONCE_S, lambda: side_console().print(words))
    announcement.daemon = True
    if not quiet:
        announcement.start()
    try:
        yield
    finally:
        announcement.cancel()


def _draw(draw: Callable[[Sequence[DeviceProfile], str], None] | None, found: ProfileView, plot: Path | None) -> None:
    if draw is None:
        return
    try:
        draw(found.devices, _title(found))
    except OSError as fault:
        raise RequestInvalid(
            f"--plot {plot} cannot be written ({fault.strerror or fault}); name another file"
        ) from fault


def _title(found: ProfileView) -> str:
    knobs = " ".join(f"{name}={value}" for name, value in found.configuration.items())
    return f"{found.engine}, {found.live_requests} live requests: {knobs}"


def _show(found: ProfileView) -> None:
    out = console()
    out.print(_title(found))
    for device in found.devices:
        out.print(_shares(device))
    out.print(_longest(found.devices[0]))
    out.print(f"Recorded for {found.seconds:.1f} s; writing it down took {found.writing_s:.1f} s.")
    out.print("The whole of it, for Perfetto or chrome://tracing: " + ", ".join(d.trace for d in found.devices))


def _shares(device: DeviceProfile) -> Any:
    from rich.table import Table

    table = Table("", "share", "ms", "", title=device.device, title_justify="left")
    for kind in Kind:
        share = device.share(kind)
        bar = "█" * round(_BAR * share)
        table.add_row(_WORDS[kind], f"{share:6.1%}", f"{device.seconds.get(kind, 0) * 1e3:.1f}", bar)
    return table


def _longest(device: DeviceProfile) -> Any:
    from rich.table import Table

    table = Table("what took longest", "kind", "ms", "calls", title_justify="left")
    for one in device.top:
        table.add_row(one.name, one.kind, f"{one.seconds * 1e3:.1f}", str(one.calls))
    return table
