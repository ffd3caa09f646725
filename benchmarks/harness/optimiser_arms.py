"""Ours and other optimisers as the same thing: configurations, one after another, each told before the next."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import qmc

from benchmarks.harness.seed_trials import ATTENTION_HEADS, CANONICAL, CONTEXT, DTYPES, SPACE, enumeration, is_allowed
from benchmarks.harness.tabular import DIRECTIONS, REFERENCE, Table, values_of
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.surrogate import FitOptions, SuggestOptions, Surrogates, Trial, fit, initial_design, suggest

#: What Ax is told of a trial that could not run: no tokens, and twice the joules per token that count at all. Told only
#: that it failed, Ax goes on proposing its like; told the study's 1e9 joules, it can tell nothing else apart.
PENALTY = (0.0, 2 * REFERENCE[1])

#: Our trials before the first fit. Every trial of a design is one that nobody chose: 4 find 95 % of the front in 15
#: trials, 8 in 20 and 12 in 25 (medians of 60 seeds that are not among those of the result). `reconfigure tune` begins
#: with more, `learning.min_trials`: leave-one-out cannot tell by trials that differ little whether to trust surrogates.
INITIAL = 4

Look = Callable[[Configuration], Trial]
Arm = Callable[[Look, int, int], None]

KNOBS = {knob.name: list(knob.values) for knob in SPACE.knobs}


def ours(look: Look, seed: int, budget: int, method: str = "nehvi") -> None:
    """Sobol among what known constraints allow, then one suggestion at a time."""
    candidates = [each for each in enumeration() if is_allowed(each)]
    trials = [look(each) for each in initial_design(candidates, SPACE, INITIAL, seed, CANONICAL)]
    warm: Surrogates | None = None
    for number in range(INITIAL, budget):
        warm = fit(trials, SPACE, FitOptions(canonical=CANONICAL), warm if number % 4 else None)
        options = SuggestOptions(reference_point=REFERENCE, method=method, seed=1000 * seed + number)
        chosen = suggest(warm, candidates, CONTEXT, options=options).chosen
        trials.append(look(chosen[0].forecast.configuration))


def ours_thompson(look: Look, seed: int, budget: int) -> None:
    """The same by Thompson sampling."""
    ours(look, seed, budget, "thompson")


def random(look: Look, seed: int, budget: int) -> None:
    """Any configuration of the space."""
    _in_order(look, enumeration(), seed, budget)


def feasible_random(look: Look, seed: int, budget: int) -> None:
    """Any configuration that known constraints allow."""
    _in_order(look, [each for each in enumeration() if is_allowed(each)], seed, budget)


def sobol(look: Look, seed: int, budget: int) -> None:
    """A scrambled Sobol sequence over the space's choices, constraints unknown."""
    cube = qmc.Sobol(len(KNOBS), rng=np.random.default_rng(seed)).random(64)[:budget]
    for point in cube:
        chosen = [values[int(share * len(values))] for share, values in zip(point, KNOBS.values(), strict=True)]
        look(Configuration(zip(KNOBS, chosen, strict=True)))


def nsga2(look: Look, seed: int, budget: int) -> None:
    """Optuna's NSGA-II as it comes."""
    import optuna

    _optuna(look, optuna.samplers.NSGAIISampler(seed=seed), budget)


def tpe(look: Look, seed: int, budget: int) -> None:
    """Optuna's tree-structured Parzen estimator as it comes."""
    import optuna

    _optuna(look, optuna.samplers.TPESampler(seed=seed), budget)


def ax_choice(look: Look, seed: int, budget: int) -> None:
    """Ax as it comes, every knob a choice, numbers ordered."""
    _ax(look, ax_client(seed), lambda point: Configuration({n: point[n] for n in KNOBS}), budget)


def ax_client(seed: int) -> Any:
    """Ax with the space's choices."""
    from ax.api.configs import ChoiceParameterConfig

    kinds = {bool: "bool", int: "int", str: "str"}
    return _client(
        seed,
        [
            ChoiceParameterConfig(
                name=name,
                values=values,
                parameter_type=kinds[type(values[0])],
                is_ordered=not isinstance(values[0], str),
            )
            for name, values in KNOBS.items()
        ],
    )


def ax_range(look: Look, seed: int, budget: int) -> None:
    """Ax as it comes, every knob a range as in the study, rounded to the nearest choice before it is measured."""
    from ax.api.configs import RangeParameterConfig

    parameters = [
        RangeParameterConfig(name=n, bounds=(float(min(places)), float(max(places))), parameter_type="float")
        for n, v in KNOBS.items()
        for places in [_places(n, v)]
    ]

    def rounded(point: dict[str, Any]) -> Configuration:
        chosen = {}
        for name, values in KNOBS.items():
            distances = [abs(place - float(point[name])) for place in _places(name, values)]
            chosen[name] = values[int(np.argmin(distances))]
        return Configuration(chosen)

    _ax(look, _client(seed, parameters), rounded, budget)


#: By the name in the results; a `True` marks what a library does by default.
ARMS: dict[str, tuple[Arm, bool]] = {
    "ours": (ours, False),
    "ours by Thompson": (ours_thompson, False),
    "random": (random, False),
    "random among feasible": (feasible_random, False),
    "Sobol": (sobol, True),
    "NSGA-II": (nsga2, True),
    "TPE": (tpe, True),
    "Ax choice": (ax_choice, True),
    "Ax range": (ax_range, True),
}


class Interrupted(Exception):
    """Nobody waits for this run any more."""


def run_arm(name: str, table: Table, seed: int, budget: int, ended: threading.Event) -> list[float]:
    """Share of the exhaustive hypervolume after each trial.

    Raises:
        Interrupted: at the next trial after `ended` was set; a run may take minutes.
    """
    tried: list[Configuration] = []

    def look(configuration: Configuration) -> Trial:
        if ended.is_set():
            raise Interrupted
        tried.append(configuration)
        return table.look(configuration, seed, len(tried))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other libraries' words about their own defaults
        ARMS[name][0](look, seed, budget)
    return table.shares(tried)


def _in_order(look: Look, configurations: list[Configuration], seed: int, budget: int) -> None:
    for index in np.random.default_rng(seed).permutation(len(configurations))[:budget]:
        look(configurations[index])


def _optuna(look: Look, sampler: Any, budget: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    for _ in range(budget):
        asked = study.ask()
        trial = look(Configuration({n: asked.suggest_categorical(n, v) for n, v in KNOBS.items()}))
        if trial.feasible:
            study.tell(asked, values_of(trial))
        else:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)


def _client(seed: int, parameters: list[Any]) -> Any:
    from ax.api.client import Client

    for name in ("ax", "ax.api.client", "ax.service.utils.with_db_settings_base"):
        logging.getLogger(name).setLevel(logging.ERROR)
    client = Client(random_seed=seed)
    client.configure_experiment(parameters=parameters)
    limits = [f"throughput >= {REFERENCE[0]}", f"energy <= {REFERENCE[1]}"]
    client.configure_optimization(objective="throughput, -energy", outcome_constraints=limits)
    return client


def _ax(look: Look, client: Any, configuration_of: Any, budget: int) -> None:
    for _ in range(budget):
        ((index, point),) = client.get_next_trials(max_trials=1).items()
        trial = look(configuration_of(point))
        throughput, energy = values_of(trial) if trial.feasible else PENALTY
        client.complete_trial(trial_index=index, raw_data={"throughput": throughput, "energy": energy})


def _places(name: str, values: list[Any]) -> list[float]:
    """Where each choice lies in its range."""
    return [float(DTYPES.index(each)) if name == "dtype" else float(each) for each in values]


assert ATTENTION_HEADS % 3, "a tensor parallelism of three would be a choice"
