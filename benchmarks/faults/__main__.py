"""Faults that the daemon must survive, group by group; each group is a result of its own.

    python -m benchmarks.faults [GROUP ...] [--quick]

Without a group all of them run, one after the other, and each writes `benchmarks/results/faults.GROUP.json`. The exit
code is 0 if every target of every group was reached.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType

from benchmarks.harness import command

#: Each is a module here with a docstring and a coroutine `measure(arguments, console) -> command.Findings`; options of
#: its own are added by its `add_options(parser)`, if there is one.
GROUPS: tuple[str, ...] = (
    *("controller", "core", "engine_host", "targets", "day", "endurance"),
    *("store", "meter", "clock", "connections", "malformed"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    given = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(given):
        print(f"{__doc__}\nGroups: {', '.join(GROUPS)}. A group's own options: those of every benchmark.")
        return 0
    chosen = [argument for argument in given if argument in GROUPS] or list(GROUPS)
    others = [argument for argument in given if argument not in GROUPS]
    codes = [_run(name, module, others) for name, module in _modules(chosen).items()]
    if command.INTERRUPTED in codes:
        return command.INTERRUPTED
    return max(codes, default=0)


def _modules(names: Sequence[str]) -> Mapping[str, ModuleType]:
    return {name: import_module(f"benchmarks.faults.{name}") for name in names}


def _run(name: str, module: ModuleType, options: Sequence[str]) -> int:
    parser = command.options(module.__doc__)
    if hasattr(module, "add_options"):
        module.add_options(parser)
    return command.run(f"faults.{name}", parser, module.measure, options)


if __name__ == "__main__":
    sys.exit(main())
