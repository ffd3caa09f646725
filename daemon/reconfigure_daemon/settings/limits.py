"""The space's constraints, from the settings that declare them, and what is wrong with a space they leave empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, format_value
from reconfigure_policies.domain.constraints import (
    BudgetHoldsCap,
    Constraint,
    Excluded,
    GpusSuffice,
    HeadsDivide,
    WeightsFit,
)

if TYPE_CHECKING:
    from reconfigure_daemon.settings.contradictions import Contradiction
    from reconfigure_daemon.settings.model import Settings

_GIB = 2**30


def constraints_of(settings: Settings) -> tuple[Constraint, ...]:
    """What configurations must satisfy: what always holds, and what `constraints` declares."""
    given = settings.constraints
    found: list[Constraint] = [BudgetHoldsCap()]
    if given.gpus is not None:
        found.append(GpusSuffice(given.gpus))
    if given.attention_heads is not None:
        found.append(HeadsDivide(given.attention_heads))
    if given.weights_gib is not None and given.gpu_memory_gib is not None:
        found.append(_weights_fit(settings, given.weights_gib, given.gpu_memory_gib))
    return (*found, *(Excluded(values) for values in given.exclude))


def unknown_exclusions(settings: Settings) -> Iterator[Contradiction]:
    """Combinations that are to be excluded and name what the space does not have."""
    for index, values in enumerate(settings.constraints.exclude):
        for name, value in values.items():
            knob, at = settings.space.get(name), ("constraints", "exclude", index, name)
            if knob is None:
                yield at, f"there is no knob {name!r} in the space; it has: {', '.join(settings.space)}"
            elif value not in knob.values:
                allowed = ", ".join(map(format_value, knob.values))
                yield at, f"found {format_value(value)}, which space.{name} does not have; it has: {allowed}"


def lone_memory_keys(settings: Settings) -> Iterator[Contradiction]:
    """One of two keys that mean nothing alone."""
    given = settings.constraints
    if (given.weights_gib is None) != (given.gpu_memory_gib is None):
        there, missing = ("weights_gib", "gpu_memory_gib")[:: 1 if given.weights_gib is not None else -1]
        yield ("constraints", there), f"says nothing without constraints.{missing}; give both or neither"


def impossible(settings: Settings) -> Iterator[Contradiction]:
    """A space that is empty, or whose default or named configurations are ruled out."""
    space = settings.configuration_space()
    if next(space.enumerate(), None) is None:
        yield _empty(space)
        return
    start = space.default()
    for _, fault in space.faults_of(start)[:1]:
        yield ("space", _first_knob(space, start)), f"the defaults cannot serve together: {fault}; change a default"
    for objective, configuration in settings.named_configurations().items():
        for _, fault in space.faults_of(configuration)[:1]:
            yield ("objectives", objective.value), f"this configuration cannot serve: {fault}; change one of its values"


def _empty(space: ConfigurationSpace) -> Contradiction:
    """What rules out everything: one constraint where one does, else the one that rules out most."""
    everything = ConfigurationSpace(space.knobs)
    counts: Counter[str] = Counter()
    words: dict[str, str] = {}
    total = 0
    for configuration in everything.enumerate():
        total += 1
        for constraint, fault in space.faults_of(configuration):
            counts[constraint.key] += 1
            words.setdefault(constraint.key, fault)
    key, most = counts.most_common(1)[0]
    share = "each" if most == total else f"{most}"
    at = ("constraints", key) if key else ("space", "max_num_batched_tokens")
    return at, (
        f"no configuration of the space is left: {share} of its {total} is ruled out here, e.g. {words[key]}; "
        "add values to the space or loosen the constraint"
    )


def _first_knob(space: ConfigurationSpace, configuration: Configuration) -> str:
    constraint = space.faults_of(configuration)[0][0]
    return next(name for name in constraint.knobs if name in space)


def _weights_fit(settings: Settings, weights_gib: float, gpu_memory_gib: float) -> WeightsFit:
    arguments = {name.replace("-", "_"): value for name, value in settings.engine.arguments.items()}
    utilisation, kv_bytes = arguments.get("gpu_memory_utilization"), arguments.get("kv_cache_memory_bytes")
    fit = WeightsFit(weights_gib, gpu_memory_gib)
    return WeightsFit(
        weights_gib,
        gpu_memory_gib,
        float(utilisation) if isinstance(utilisation, int | float) else fit.utilisation,
        float(kv_bytes) / _GIB if isinstance(kv_bytes, int | float) else 0.0,
    )
