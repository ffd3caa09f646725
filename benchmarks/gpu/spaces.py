"""The discrete space against the same one searched as if it were continuous, by sessions of `tune` on a GPU.

    python -m benchmarks.gpu.spaces [--trials 20] [--rate 10] [--quick]
    python -m benchmarks.gpu.spaces --sessions benchmarks/results/gpu.spaces.json     # judged again, without a GPU

The study's own comparison, with trials of our own: one session of each kind, each in a daemon that has learned nothing
before, from the same start, on a Mistral-7B shape with random weights. Compared are the hypervolume of what was
measured, and how well each session's surrogates foretell the other's configurations that they never saw. A trial takes
about 8 s and a boot a minute: with 20 trials each the whole takes about 10 minutes. One pair of sessions says how the
two behave here, not which is better in general: that is what `benchmarks.optimisers` is for, over many seeds. Both
sessions measure their first trials, among others, at the same configurations: how far those are apart is the noise that
any difference between the two has to be seen against.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console

from benchmarks.gpu.closed_loop import LENGTHS, session_of
from benchmarks.gpu.server import SHORT_REQUESTS, model_folder, use_environment
from benchmarks.gpu.trial_design import COLD_KNOB, WIDEST, settings_of
from benchmarks.harness import command
from benchmarks.harness.closed_loop import tune
from benchmarks.harness.daemon import Daemon
from benchmarks.harness.rows import Row, exactly, shown
from benchmarks.harness.two_arms import ARMS, NAMES, TwoArms
from reconfigure_daemon.control_api.tuning_messages import TuningView
from reconfigure_daemon.errors import RequestInvalid
from reconfigure_daemon.settings import Settings
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.surrogate import Measured, Quantity, Trial

#: Tokens per second and joules per token: worse than any configuration that is worth a trial.
REFERENCE = (500.0, 2.0)


async def measure(arguments: argparse.Namespace, console: Console) -> command.Findings:
    """A session of each kind, or those of an earlier result."""
    if arguments.sessions is not None:
        result, sessions = result_in(arguments.sessions)
        vars(arguments).update(result["arguments"] | {"sessions": arguments.sessions})  # what was emulated stays so
        return compared(sessions, arguments, measured=[result])
    use_environment()
    model = model_folder(arguments.engine, Path(tempfile.mkdtemp(prefix="reconfigure-gpu-")))
    changes: dict[str, Any] = {
        **settings_of(COLD_KNOB, WIDEST),
        "engine": {"arguments": dict(SHORT_REQUESTS)},
        "governor": {"enabled": False},
        "learning": {"min_trials": 4 if arguments.quick else 10},
    }
    request = session_of(6 if arguments.quick else arguments.trials, arguments.rate)
    sessions = {}
    for arm in ARMS:
        console.print(f"{arm}:")
        async with Daemon(arguments.engine, model, changes) as daemon:
            sessions[arm] = await tune(daemon, request.model_copy(update={"space": arm}), console)
    return compared(sessions, arguments)


def result_in(file: Path) -> tuple[dict[str, Any], dict[str, TuningView]]:
    """An earlier result of this benchmark, and the sessions in it.

    Raises:
        RequestInvalid: if the file is something else.
    """
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        sessions = {arm: TuningView.model_validate(result["details"][arm]) for arm in ARMS}
        _ = result["arguments"]["trials"], result["arguments"]["rate"]
    except (OSError, ValueError, TypeError, KeyError):
        raise RequestInvalid(f"--sessions: {file} is no result of this benchmark; name the --output of a run") from None
    return result, sessions


def compared(
    sessions: Mapping[str, TuningView],
    arguments: argparse.Namespace,
    measured: Sequence[Mapping[str, Any]] = (),
) -> command.Findings:
    """Both sessions side by side.

    Args:
        sessions: by arm.
        arguments: that they were measured with.
        measured: as in `Findings`.
    """
    trials = {arm: trials_of(session) for arm, session in sessions.items()}
    space = Settings.model_validate({"space": settings_of(COLD_KNOB, WIDEST)["space"]}).engine_space()
    arms = TwoArms(trials, space, sessions[ARMS[0]].context, REFERENCE)
    rows = [exactly(f"{arm}: trials measured", len(tried), arguments.trials) for arm, tried in trials.items()]
    notes = [
        f"{arguments.rate:g} requests/s of {LENGTHS[0]} tokens; energy {sessions[ARMS[0]].energy_source}; "
        f"hypervolume beyond {REFERENCE[0]:g} tokens/s and {REFERENCE[1]:g} J/token. One pair of sessions.",
    ]
    details = {arm: session.model_dump(mode="json") for arm, session in sessions.items()}
    return command.Findings([*rows, *arms.rows(), *repeated(trials)], notes, details, [*measured])


def repeated(trials: Mapping[str, Sequence[Trial]]) -> list[Row]:
    """How far two measurements of the same configuration are apart: what both arms tried, each's first."""
    first, other = ({trial.configuration: trial for trial in reversed(trials[arm]) if trial.measured} for arm in ARMS)
    both = [configuration for configuration in first if configuration in other]
    rows = [shown("configurations that both tried", len(both))]
    for quantity, name in NAMES.items():
        ratios = [other[each].measured[quantity].value / first[each].measured[quantity].value for each in both]
        apart = [100 * abs(log(ratio)) for ratio in ratios]
        rows.append(shown(f"their {name}, continuous / discrete, median", median(ratios) if both else None))
        rows.append(shown(f"their {name}, how far apart, mean", mean(apart) if both else None, "%"))
    return rows


def trials_of(session: TuningView) -> list[Trial]:
    """A session's trials as surrogates take them."""
    return [
        Trial(
            Configuration(each.measured.configuration),
            each.measured.context,
            each.measured.at,
            {Quantity(name): Measured(value) for name, value in each.measured.measured.items()},
            each.measured.feasible,
            each.measured.reason,
        )
        for each in session.trials
    ]


def main() -> int:
    """The command."""
    parser = command.options(__doc__)
    parser.add_argument("--trials", type=int, default=20, help="of each session (default: 20)")
    parser.add_argument("--sessions", type=Path, help="judge those of this result again; nothing is measured")
    parser.add_argument("--rate", type=float, default=10.0, help="arrivals a second (default: 10)")
    return command.run("gpu.spaces", parser, measure)


if __name__ == "__main__":
    sys.exit(main())
