"""Makes metric families in one registry, and remembers how each was described: the reference is written from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import Metric

PREFIX = "reconfigure"

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Description:
    """One family as it is exposed.

    Attributes:
        name: with prefix, unit and, for counters, `_total`; a histogram's series add `_bucket`, `_sum` and `_count`.
        labels: their names, but for a histogram's `le`.
        group: the heading it belongs under.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    group: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names that Prometheus stores."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "sum", "count"))


class Catalogue:
    """Every metric family, in a registry of its own, so that two controllers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.descriptions: list[Description] = []

    def gauge(self, group: str, name: str, meaning: str, *labels: str) -> Gauge:
        """A value that goes up and down."""
        return Gauge(self._described("gauge", group, name, meaning, labels), meaning, labels, registry=self.registry)

    def counter(self, group: str, name: str, meaning: str, *labels: str) -> Counter:
        """A value that only grows; `_total` is added."""
        name = self._described("counter", group, f"{name}_total", meaning, labels)
        return Counter(name, meaning, labels, registry=self.registry)

    def histogram(self, group: str, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        """Counts by size, with the sum."""
        name = self._described("histogram", group, name, meaning, labels)
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)

    def process(self, group: str) -> None:
        """What the system says of this process: memory, processor time, descriptors, start."""
        for family in ProcessCollector(namespace=PREFIX, registry=self.registry).collect():
            kind: Kind = "counter" if family.type == "counter" else "gauge"
            name = f"{family.name}_total" if kind == "counter" else family.name
            self.descriptions.append(Description(name, kind, (), family.documentation, group))

    def collect(self) -> Iterable[Metric]:
        """The families with their samples; when a series began is left out, Prometheus does not need it."""
        for family in self.registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family

    def _described(self, kind: Kind, group: str, name: str, meaning: str, labels: tuple[str, ...]) -> str:
        exposed = f"{PREFIX}_{name}"
        self.descriptions.append(Description(exposed, kind, labels, meaning, group))
        return exposed
