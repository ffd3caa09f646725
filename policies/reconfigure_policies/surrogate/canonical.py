"""Configurations that are the same to the engine are made one before anything is learned from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconfigure_policies.domain.configuration import Configuration, KnobValue


@dataclass(frozen=True, slots=True)
class Canonical:
    """What is known to make no difference; by default, nothing.

    A surrogate that is told twice of one configuration under two names believes in differences that are noise, and a
    held-out configuration that is in the training data under another name says nothing of its accuracy.

    Attributes:
        without_effect: knobs that do nothing here, e.g. a switch that the engine overrides.
        aliases: by knob, values that mean another one, e.g. `{"dtype": {"auto": "bfloat16"}}`.
        caps: by numeric knob, the value above which it makes no difference, e.g. a running cap above the number of
            requests that are ever there.
    """

    without_effect: frozenset[str] = frozenset()
    aliases: Mapping[str, Mapping[KnobValue, KnobValue]] = field(default_factory=dict)
    caps: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_identity(self) -> bool:
        """Whether every configuration stands for itself alone."""
        return not (self.without_effect or self.aliases or self.caps)

    def __call__(self, configuration: Configuration) -> Configuration:
        """The one configuration that stands for all that are the same; knobs without effect are gone from it."""
        return Configuration(
            {name: self._value(name, value) for name, value in configuration.items() if name not in self.without_effect}
        )

    def _value(self, name: str, value: KnobValue) -> KnobValue:
        meant = self.aliases.get(name, {}).get(value, value)
        cap = self.caps.get(name)
        if cap is not None and not isinstance(meant, str | bool) and meant > cap:
            return cap
        return meant
