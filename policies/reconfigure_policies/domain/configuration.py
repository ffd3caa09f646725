"""Knobs, the configurations they make, and the space of configurations that is allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING

from reconfigure_policies.domain.no_effect import inert_values

if TYPE_CHECKING:
    from reconfigure_policies.domain.constraints import Constraint

KnobValue = bool | int | float | str


class Tier(StrEnum):
    """How a knob is changed: `hot` inside the running core, `cold` by a new core."""

    HOT = "hot"
    COLD = "cold"


class Configuration(Mapping[str, KnobValue]):
    """An immutable, hashable assignment of a value to every knob of a space."""

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, KnobValue] | Iterable[tuple[str, KnobValue]] = ()) -> None:
        self._values: dict[str, KnobValue] = dict(sorted(dict(values).items()))
        self._hash = hash(tuple(self._values.items()))

    def __getitem__(self, name: str) -> KnobValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self._values == other._values

    def __repr__(self) -> str:
        return f"Configuration({self})"

    def __str__(self) -> str:
        return " ".join(f"{name}={format_value(value)}" for name, value in self._values.items())

    def with_changes(self, changes: Mapping[str, KnobValue]) -> Configuration:
        """A copy in which the named knobs have the given values."""
        return Configuration({**self._values, **changes})

    def changes_to(self, target: Configuration) -> dict[str, KnobValue]:
        """The knobs whose value differs in `target`, with the value they have there."""
        return {name: value for name, value in target.items() if self._values.get(name) != value}


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting: its vLLM name where it has one, its allowed values in order, and how it is changed.

    Attributes:
        name: the field's or vLLM's own name, e.g. `max_num_seqs`.
        tier: hot or cold.
        values: every allowed value, ordered from least to most where order means anything.
        default: the value at start; one of `values`.
        unit: base unit of the value, or "" where it has none.
        description: one sentence for `reconfigure apply --help` and the reference.
        reserved: values that only some objectives may choose, each with their names.
    """

    name: str
    tier: Tier
    values: tuple[KnobValue, ...]
    default: KnobValue
    unit: str = ""
    description: str = ""
    reserved: tuple[tuple[KnobValue, frozenset[str]], ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"knob {self.name}: no values are allowed; name at least one")
        if not self.allows(self.default):
            allowed = ", ".join(map(format_value, self.values))
            raise ValueError(
                f"knob {self.name}: default {format_value(self.default)} is not among its values: {allowed}"
            )

    def allows(self, value: KnobValue) -> bool:
        """Whether the value is one of the knob's, of the same kind (`1` is not `True`)."""
        return any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in self.values)

    def is_open_to(self, value: KnobValue, objective: str) -> bool:
        """Whether an objective may choose a value: it is reserved for nobody, or for this one too."""
        return all(objective in objectives for of, objectives in self.reserved if of == value)


class ConfigurationOutsideSpace(ValueError):
    """A configuration names knobs or values that the space does not allow.

    Attributes:
        faults: one sentence for each fault: what was found and what is allowed.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True)
class ConfigurationSpace:
    """Every configuration that the daemon may choose: the product of its knobs' values, less what cannot be.

    Attributes:
        knobs: in the order of `config.yaml`.
        constraints: what a configuration must satisfy besides.
    """

    knobs: tuple[Knob, ...]
    constraints: tuple[Constraint, ...] = ()
    _by_name: Mapping[str, Knob] = field(init=False, repr=False, compare=False)
    _cold: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {knob.name: knob for knob in self.knobs})
        object.__setattr__(self, "_cold", tuple(knob.name for knob in self.knobs if knob.tier is Tier.COLD))

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def knob(self, name: str) -> Knob:
        """The knob of this name.

        Raises:
            ConfigurationOutsideSpace: if there is none.
        """
        if name not in self._by_name:
            raise ConfigurationOutsideSpace([self._unknown(name)])
        return self._by_name[name]

    def without(self, names: Collection[str]) -> ConfigurationSpace:
        """The space that is left when some knobs cannot be moved."""
        return ConfigurationSpace(tuple(knob for knob in self.knobs if knob.name not in names), self.constraints)

    def is_open_to(self, configuration: Mapping[str, KnobValue], objective: str) -> bool:
        """Whether an objective may choose a full or partial assignment: see `Knob.is_open_to`."""
        reserving = (knob for knob in self.knobs if knob.reserved and knob.name in configuration)
        return all(knob.is_open_to(configuration[knob.name], objective) for knob in reserving)

    def default(self) -> Configuration:
        """The configuration in which every knob has its default."""
        return Configuration({knob.name: knob.default for knob in self.knobs})

    def maximum(self, name: str) -> KnobValue:
        """The largest value of an ordered knob: what a core boots with so that hot moves stay inside it."""
        return max(self.knob(name).values)

    def check(self, values: Mapping[str, KnobValue]) -> None:
        """Accept a full or partial assignment, or name every fault in it at once.

        Raises:
            ConfigurationOutsideSpace: with one sentence for each unknown knob and each value not allowed.
        """
        faults = []
        for name, value in values.items():
            knob = self._by_name.get(name)
            if knob is None:
                faults.append(self._unknown(name))
            elif not knob.allows(value):
                allowed = ", ".join(map(format_value, knob.values))
                faults.append(f"{name}={format_value(value)} is outside the space; allowed: {allowed}")
        if faults:
            raise ConfigurationOutsideSpace(faults)

    def faults_of(self, configuration: Mapping[str, KnobValue]) -> list[tuple[Constraint, str]]:
        """Each constraint that a full configuration breaks, with why."""
        found = ((constraint, constraint.broken_by(configuration)) for constraint in self.constraints)
        return [(constraint, fault) for constraint, fault in found if fault is not None]

    def effective(self, configuration: Configuration) -> Configuration:
        """The one configuration that stands for all that do the same: what has no effect is at its default.

        Where the default itself has an effect, it is at the first value that has none.
        """
        stand_ins = {}
        for name, is_inert in inert_values(configuration):
            if name in self._by_name and is_inert(configuration[name]):
                stand_ins[name] = self._first_inert(self._by_name[name], is_inert)
        return configuration.with_changes(stand_ins) if stand_ins else configuration

    def enumerate(self) -> Iterator[Configuration]:
        """Every configuration that satisfies the constraints, each effect once; worked out as they are asked for."""
        names = [knob.name for knob in self.knobs]
        for values in product(*(knob.values for knob in self.knobs)):
            configuration = Configuration(zip(names, values, strict=True))
            if any(constraint.broken_by(configuration) is not None for constraint in self.constraints):
                continue
            if self.effective(configuration) == configuration:
                yield configuration

    def cold_part(self, configuration: Mapping[str, KnobValue]) -> tuple[KnobValue, ...]:
        """What a core is booted with, of a full configuration: the values of its cold knobs, in their order."""
        return tuple(configuration[name] for name in self._cold)

    def split(self, changes: Mapping[str, KnobValue]) -> tuple[dict[str, KnobValue], dict[str, KnobValue]]:
        """Changes by tier: `(hot, cold)`."""
        hot = {n: v for n, v in changes.items() if self.knob(n).tier is Tier.HOT}
        cold = {n: v for n, v in changes.items() if self.knob(n).tier is Tier.COLD}
        return hot, cold

    @staticmethod
    def _first_inert(knob: Knob, is_inert: Callable[[KnobValue], bool]) -> KnobValue:
        return next(value for value in (knob.default, *knob.values) if is_inert(value))

    def _unknown(self, name: str) -> str:
        return f"there is no knob {name!r} in the space; it has: {', '.join(self._by_name)}"


def format_value(value: KnobValue) -> str:
    """A knob's value as an operator writes it: `true`, `64`, `0.02`, `bfloat16`."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def parse_value(text: str) -> KnobValue:
    """What `format_value` wrote: booleans, then integers, then floats, then the text itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
