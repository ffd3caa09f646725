"""The verbs that show what was learned, and hand it on: pareto, surrogate, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reconfigure_daemon.cli.control_api_client import LEARNING_TIMEOUT_S
from reconfigure_daemon.cli.options import DEFAULT_URL, AsJson, TokenFile, Url, client
from reconfigure_daemon.cli.output import console, print_json, side_console
from reconfigure_daemon.errors import RequestInvalid

Plot = Annotated[
    Path | None,
    typer.Option("--plot", dir_okay=False, help="Draw it into this file: .html (to explore) or .png (to show)."),
]


def pareto(plot: Plot = None, url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """The configurations that no other is expected to beat in throughput and energy, for the workload as it is."""
    _check_plot(plot)
    answer = client(url, token_file).get("/v1/pareto", timeout_s=LEARNING_TIMEOUT_S)
    if as_json:
        _draw(answer, plot)  # first, so that a fault in it is the only document
        print_json(answer)
        return
    from reconfigure_daemon.cli.learned_wording import show_pareto

    show_pareto(console(), _pareto(answer))
    _draw(answer, plot)


def surrogate(url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """How well the daemon foretells what configurations do, and when that is not to be trusted."""
    answer = client(url, token_file).get("/v1/surrogate", timeout_s=LEARNING_TIMEOUT_S)
    if as_json:
        print_json(answer)
        return
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.cli.learned_wording import show_surrogate
    from reconfigure_daemon.control_api.learning_messages import SurrogateView

    show_surrogate(console(), parsed(SurrogateView, answer))


def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="JSON lines, written anew.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Write what was measured here into a file, for another host with the same model and GPUs."""
    lines = client(url, token_file).lines("/v1/trials")
    try:
        file.write_bytes(b"".join(lines))
    except OSError as fault:
        raise RequestInvalid(f"{file} cannot be written ({fault.strerror})") from fault
    trials = max(0, len(lines) - 1)
    if as_json:
        print_json({"file": str(file), "trials": trials})
    else:
        console().print(f"{trials} trials written to {file}")


def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="From `export`.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Learn from what another host measured; refused unless engine, model and GPUs are the same."""
    answer = client(url, token_file).send("/v1/trials", file.read_bytes())
    if as_json:
        print_json(answer)
        return
    known = f"; {answer['known']} were here already" if answer.get("known") else ""
    console().print(f"{answer.get('taken', 0)} trials taken from {file}{known}")


def _check_plot(plot: Path | None) -> None:
    """Before anything is asked or measured."""
    if plot is None:
        return
    if plot.suffix not in (".html", ".png"):
        raise typer.BadParameter(f"found {plot.name!r}; name a file that ends in .html or .png", param_hint="--plot")
    from reconfigure_daemon.cli.plots import check_drawable

    check_drawable("--plot", plot.absolute().parent, [plot.suffix])


def _draw(answer: Any, plot: Path | None) -> None:
    if plot is None:
        return
    from reconfigure_daemon.cli.plots import draw_pareto

    draw_pareto(_pareto(answer), plot)
    side_console().print(f"drawn into {plot}")


def _pareto(answer: Any) -> Any:
    from reconfigure_daemon.cli.answers import parsed
    from reconfigure_daemon.control_api.learning_messages import ParetoView

    return parsed(ParetoView, answer)
