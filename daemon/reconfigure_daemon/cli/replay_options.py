"""The options of `reconfigure replay`, and what they accept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconfigure_daemon.cli.options import duration_s


def positive(text: str | float) -> float:
    """A number above 0; raises `typer.BadParameter` for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise typer.BadParameter(f"found {text!r}, expected a number above 0")
    return number


def writable_path(text: str | Path) -> Path:
    """A file that can be written once the replay is over; raises `typer.BadParameter` before it starts otherwise."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise typer.BadParameter(f"found {str(path)!r}, expected a file name in a folder that exists")
    return path


Trace = Annotated[
    Path,
    typer.Argument(
        exists=True,
        dir_okay=False,
        readable=True,
        help="Azure, Mooncake, ServeGen or BurstGPT trace, plain or .gz.",
    ),
]
ServerUrl = Annotated[str, typer.Option(help="The OpenAI server.")]
ControllerUrl = Annotated[
    str, typer.Option(envvar="RECONFIGURE_URL", help="The daemon's control API, for the energy it meters.")
]
Speed = Annotated[float, typer.Option(parser=positive, metavar="FACTOR", help="Divide arrival times by this.")]
Limit = Annotated[
    float | None,
    typer.Option(
        parser=duration_s,
        metavar="DURATION",
        help="End arrivals after this much replayed time, as on your clock: with --speed 4, 10m replays 40 minutes "
        "of the trace. Streams that run then are finished.",
    ),
]
Start = Annotated[
    float,
    typer.Option(
        parser=duration_s,
        show_default="0s",
        metavar="OFFSET",
        help="Begin this far into the trace, in its own time.",
    ),
]
Requests = Annotated[int | None, typer.Option(min=1, help="Send at most this many.")]
Sample = Annotated[float, typer.Option(min=0.0, max=1.0, help="Keep this share of the requests, chosen by --seed.")]
ScaleTokens = Annotated[
    float, typer.Option(parser=positive, metavar="FACTOR", help="Multiply prompt and output lengths by this.")
]
MaxPromptTokens = Annotated[int | None, typer.Option(min=1, help="Cut longer prompts to this.")]
MaxOutputTokens = Annotated[int | None, typer.Option(min=1, help="Cut longer outputs to this.")]
Model = Annotated[str | None, typer.Option(help="Model name; the first that the server lists if left out.")]
VocabSize = Annotated[int, typer.Option(min=2, help="Prompts use token ids below this.")]
Seed = Annotated[
    int,
    typer.Option(
        help="Of sample, prompts and sampling. The same seed sends the same prompts: use another one for a second "
        "run on a server whose prefix cache is to be cold."
    ),
]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 is greedy.")]
SloTtft = Annotated[
    float,
    typer.Option(parser=duration_s, show_default="1s", metavar="DURATION", help="Limit of time to first token."),
]
SloTpot = Annotated[
    float,
    typer.Option(parser=duration_s, show_default="50ms", metavar="DURATION", help="Limit of time per output token."),
]
SloE2e = Annotated[
    float | None, typer.Option(parser=duration_s, metavar="DURATION", help="Limit of end-to-end latency.")
]
Timeout = Annotated[
    float,
    typer.Option(parser=duration_s, show_default="10m", metavar="DURATION", help="Give a request up after this."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad lines of the trace out and count them.")]
Report = Annotated[
    Path | None, typer.Option(parser=writable_path, metavar="PATH", help="Write the report here as JSON.")
]
TokensOut = Annotated[
    Path | None,
    typer.Option(
        parser=writable_path,
        metavar="PATH",
        help="Write each request's output as a JSON line, to compare two runs. Adds work to the server.",
    ),
]
ApiKey = Annotated[
    str, typer.Option(envvar="OPENAI_API_KEY", show_envvar=True, show_default=False, help="Sent as bearer token.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")]
