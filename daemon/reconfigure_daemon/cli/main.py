"""`reconfigure`: the command line. Exit 0 done, 1 refused or failed, 2 usage, 3 no daemon."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reconfigure_daemon import __version__
from reconfigure_daemon.cli import intents, learned, output, serve, settings_check, stop, views
from reconfigure_daemon.cli.options import DEFAULT_URL, AsJson, DryRun, TokenFile, Url, Yes, client, duration_s
from reconfigure_daemon.errors import ReconfigureError
from reconfigure_policies.domain.objective import Objective

EXAMPLES = """Examples:

    reconfigure status --watch\n
    reconfigure --objective energy --for 8h\n
    reconfigure apply max_num_seqs=64 block_size=32 --dry-run\n
    reconfigure replay trace.csv --speed 4 --limit 10m\n
    reconfigure tune --recorded --trials 40 --budget 2h\n
    reconfigure simulate --trace trace.csv --day --objective energy
"""


#: Verbs that bring what no other one uses: an HTTP client, the control API's messages. Each is its module's function.
_LOADED_WHEN_ASKED = ("replay", "profile", "tune", "simulate")


#: What typer's faults of usage have in common; typer keeps the class itself to itself.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]


class Verbs(TyperGroup):
    """Tells every fault in one line and its exit code, and loads large verbs only when they are asked for."""

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the words before the verb."""
        as_json = _asks_for_json(args)
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except _UsageError as fault:
            raise (_told_as_json(fault) if as_json else fault) from None
        context.meta["words_ask_for_json"] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; a fault ends in a sentence, not in a traceback."""
        try:
            return super().invoke(ctx)
        except ReconfigureError as fault:
            raise typer.Exit(output.report(fault, as_json=ctx.meta.get("as_json", False))) from fault
        except _UsageError as fault:
            raise (_told_as_json(fault) if ctx.meta["words_ask_for_json"] else fault) from None

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order of the help text."""
        return [*super().list_commands(ctx), *_LOADED_WHEN_ASKED]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb by its name."""
        if cmd_name not in _LOADED_WHEN_ASKED:
            return super().get_command(ctx, cmd_name)
        verb = getattr(import_module(f"reconfigure_daemon.cli.{cmd_name}"), cmd_name)
        loader = typer.Typer(add_completion=False)
        loader.command(cmd_name)(verb)
        return typer.main.get_command(loader)


def _asks_for_json(words: Sequence[str]) -> bool:
    """Seen in the words themselves, as a fault of usage comes before options are read; after `--` nothing is one."""
    return "--json" in takewhile(lambda word: word != "--", words)


def _told_as_json(fault: Any) -> typer.Exit:
    """Tell a fault of usage as every other one is told to programs; the exit with its code."""
    output.print_json({"error": {"kind": "usage", "message": fault.format_message()}})
    return typer.Exit(fault.exit_code)


app = typer.Typer(
    cls=Verbs, epilog=EXAMPLES, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


def _refuse_options_before(context: typer.Context) -> None:
    """Options in front of a verb would be lost silently, so they are refused."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--for" if name == "for_s" else "--json" if name == "as_json" else f"--{name.replace('_', '-')}"
            verb = context.invoked_subcommand
            if option == "--json":
                context.meta["words_ask_for_json"] = False  # it is refused itself, so people are told
            raise typer.BadParameter(f"{option} stands before {verb!r}; write a verb's options after it")


def _print_version(wanted: bool) -> None:
    if wanted:
        output.console().print(f"reconfigure {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def reconfigure(
    context: typer.Context,
    objective: Annotated[
        Objective | None, typer.Option("--objective", "-o", help="Move towards this objective.")
    ] = None,
    for_s: Annotated[
        float | None,
        typer.Option("--for", parser=duration_s, metavar="DURATION", help="Only for so long, e.g. 8h, 90m or 1h30m."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Move a running vLLM to another configuration without losing a request, see why, and go back."""
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    if objective is None:
        raise typer.BadParameter("there is nothing to do; name a verb, or --objective (`reconfigure --help` lists all)")
    request = {"kind": "objective", "objective": objective.value, "expires_in_s": for_s}
    intents.carry_out(client(url, token_file), request, dry_run=dry_run, yes=yes, as_json=as_json)


for verb in (
    serve.serve,
    stop.stop,
    views.status,
    intents.apply,
    views.explain,
    views.history,
    intents.rollback,
    intents.pause,
    intents.resume,
    learned.pareto,
    learned.surrogate,
    learned.export,
    views.schedule,
):
    app.command()(verb)
app.command("import")(learned.import_)
app.add_typer(settings_check.config, name="config")


def main() -> None:
    """The console script; a reader that has seen enough (`| head -1`) ends it quietly."""
    try:
        try:
            app(prog_name="reconfigure")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        output.close_quietly()
        sys.exit(output.EXIT_PIPE_CLOSED)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # rich and typer turn it into their own exit code
            raise
        output.close_quietly()
        sys.exit(output.EXIT_PIPE_CLOSED)
