"""Configurations and workloads as numbers: inputs whose distance means something, and features of a linear law.

Generic in the space's knobs. A knob of positive numbers is an ordinal on a logarithmic scale, one of numbers with a
zero an ordinal on a linear scale, true and false a switch, words a category. Few knobs are known by name: tensor,
pipeline and data parallelism share one law, since all put GPUs to work, and a pace is the least time of a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from reconfigure_policies.domain.configuration import Configuration, ConfigurationSpace, Knob, KnobValue
from reconfigure_policies.domain.forecast import WorkloadContext
from reconfigure_policies.domain.parallelism import DATA_PARALLEL, PARALLELISM, PIPELINE_PARALLEL, TENSOR_PARALLEL
from reconfigure_policies.surrogate.canonical import Canonical
from reconfigure_policies.surrogate.gaussian_process import Array

#: Knobs whose 0 means "no limit": it lies beyond their largest value, not below the smallest.
NO_LIMIT_AT_ZERO = frozenset({"long_prefill_token_threshold", "gpu_clock_mhz", "power_cap_w"})

#: Ordinals without a law: the size of a block only changes how memory is cut.
WITHOUT_LAW = frozenset({"block_size"})

#: The knob whose value is the least time of a step.
PACING = "pacing_interval_s"

#: A workload whose means differ by this factor counts one unit of distance, as much as the whole range of a knob.
WORKLOAD_UNIT = 16.0

#: Means of the workload that differ by less than this factor between all trials are the same, and no input.
WORKLOAD_VARIES = 1.1

#: Below this, a rate or a length is as good as none.
LEAST = 1e-3


@dataclass(frozen=True)
class Coordinate:
    """A number that stands for the values of a knob, or of a few.

    Attributes:
        knobs: their names.
        of: the number, from their values in this order.
    """

    knobs: tuple[str, ...]
    of: Callable[..., float]

    def column(self, values: Mapping[str, Sequence[KnobValue]]) -> list[float]:
        """Of many configurations, of which `values` holds each knob's; worked out once for each value."""
        known = list(zip(*(values[name] for name in self.knobs), strict=True))
        numbers = {each: self.of(*each) for each in set(known)}
        return [numbers[each] for each in known]


@dataclass(frozen=True)
class Encoding:
    """How one space is turned into numbers.

    Attributes:
        canonical: applied first.
        inputs: one number between about 0 and 1 for each dimension of distance.
        features: of the linear part, without its constant; encodings of a space begin alike.
        workload: which means of the workload are inputs and features, with the middle of each in octaves.
        defaults: the value of a knob that a trial lacks.
    """

    canonical: Canonical
    inputs: tuple[Coordinate, ...]
    features: tuple[Coordinate, ...]
    workload: tuple[tuple[str, float], ...]
    defaults: Configuration = field(repr=False)

    def effective(self, configuration: Configuration) -> Configuration:
        """The knobs of the space that make a difference, each with the value that it stands for."""
        if self.canonical.is_identity and tuple(configuration) == tuple(self.defaults):
            return configuration
        known = {name: configuration.get(name, default) for name, default in self.defaults.items()}
        return self.canonical(Configuration(known))

    def encode(
        self, configurations: Sequence[Configuration], contexts: Sequence[WorkloadContext]
    ) -> tuple[Array, Array]:
        """Inputs `n x d` and features `n x p`, the first feature constant; one context for each configuration."""
        knobs = self.of_knobs([self.effective(configuration) for configuration in configurations])
        return self.with_workload(*knobs, contexts)

    def of_knobs(self, effective: Sequence[Configuration]) -> tuple[Array, Array]:
        """What of inputs and features the knobs of effective configurations are: most of the work with thousands.

        What the encoding with most features says is good for all encodings of a space.
        """
        names = {name for coordinate in (*self.inputs, *self.features) for name in coordinate.knobs}
        values = {name: [each[name] for each in effective] for name in names}
        shape = len(effective), -1
        inputs, features = (
            np.array([each.column(values) for each in of], dtype=float).T.reshape(shape)
            for of in (self.inputs, self.features)
        )
        return inputs, features

    def with_workload(self, inputs: Array, features: Array, contexts: Sequence[WorkloadContext]) -> tuple[Array, Array]:
        """The whole of them: with a context for each configuration, or one for all."""
        rows = [[octaves(context, name) - middle for name, middle in self.workload] for context in contexts]
        work = np.broadcast_to(np.array(rows).reshape(len(rows), -1), (len(inputs), len(self.workload)))
        constant = np.full((len(inputs), 1), 2.0)  # its weight has the prior of the others; a level deserves more
        own = features[:, : len(self.features)]
        return np.hstack([inputs, work / math.log2(WORKLOAD_UNIT)]), np.hstack([constant, own, work])


def encoding_of(
    space: ConfigurationSpace,
    contexts: Iterable[WorkloadContext],
    canonical: Canonical,
    *,
    with_rate: bool = True,
    with_least_times: bool = False,
) -> Encoding:
    """The encoding of a space for trials under these workloads.

    Args:
        space: knobs with one value are no inputs.
        contexts: of all trials; what never varied is no input.
        canonical: what makes no difference.
        with_rate: whether the rate of arrivals matters; the capacity of a saturated engine does not depend on it.
        with_least_times: whether it is about the time of a token, which the least time of a step bounds.
    """
    knobs = [knob for knob in space.knobs if knob.name not in canonical.without_effect and len(knob.values) > 1]
    inputs = [of for knob in knobs for of in _coordinates(knob, canonical)]
    names = ["prompt_tokens", "output_tokens", "prefix_hit_share"]
    known = list(contexts)
    workload = [_middle(known, name) for name in (["arrival_rate_rps", *names] if with_rate else names)]
    return Encoding(
        canonical,
        tuple(inputs),
        (*_features(knobs, canonical), *(_least_times(knobs) if with_least_times else ())),
        tuple(each for each in workload if each is not None),
        space.default(),
    )


def octaves(context: WorkloadContext, name: str) -> float:
    """A mean of the workload on a logarithmic scale; a share, which may be 0, as its complement."""
    value = getattr(context, name)
    return math.log2(max(1.0 - value if name == "prefix_hit_share" else value, LEAST))


def _middle(contexts: Sequence[WorkloadContext], name: str) -> tuple[str, float] | None:
    values = [octaves(context, name) for context in contexts]
    if not values or max(values) - min(values) < math.log2(WORKLOAD_VARIES):
        return None
    return name, (max(values) + min(values)) / 2


def _coordinates(knob: Knob, canonical: Canonical) -> list[Coordinate]:
    """Dimensions of one knob."""
    alone = (knob.name,)
    if is_ordinal(knob):
        values = [_scaled(knob, canonical(Configuration({knob.name: value}))[knob.name]) for value in knob.values]
        low, high = min(values), max(values)
        return [] if low == high else [Coordinate(alone, lambda value: (_scaled(knob, value) - low) / (high - low))]
    words = sorted({str(canonical(Configuration({knob.name: value}))[knob.name]) for value in knob.values})
    if len(words) == 1:
        return []
    if len(words) == 2:
        return [Coordinate(alone, lambda value: float(str(value) == words[1]))]
    side = math.sqrt(0.5)  # two categories are as far apart as the two ends of an ordinal
    return [Coordinate(alone, lambda value, word=word: side * (str(value) == word)) for word in words]


def _features(knobs: Sequence[Knob], canonical: Canonical) -> list[Coordinate]:
    """The law on a logarithmic scale: each ordinal's power, and what GPUs give together.

    GPUs in a pipeline, or with a replica of their own, may give otherwise than those that share each layer: a replica
    exchanges nothing with others, and reads all weights itself. Where there are only replicas, they are the GPUs.
    """
    parallel = tuple(knob.name for knob in knobs if knob.name in PARALLELISM)
    within_gpus = {TENSOR_PARALLEL, *WITHOUT_LAW, *(parallel if parallel == (DATA_PARALLEL,) else ())}
    features: list[Coordinate] = []
    for knob in knobs:
        if not is_ordinal(knob) or knob.name in within_gpus:
            continue
        values = [_scaled(knob, canonical(Configuration({knob.name: value}))[knob.name]) for value in knob.values]
        middle, weight = (min(values) + max(values)) / 2, 0.5 if knob.name in PARALLELISM else 1.0
        if not is_logarithmic(knob):
            weight = 1.0 / (max(values) - min(values))
        features.append(
            Coordinate(
                (knob.name,),
                lambda value, knob=knob, middle=middle, weight=weight: weight * (_scaled(knob, value) - middle),
            )
        )
    if parallel:
        features.append(Coordinate(parallel, lambda *gpus: math.log2(math.prod(gpus))))
    if PIPELINE_PARALLEL in parallel:
        features.append(Coordinate((PIPELINE_PARALLEL,), lambda stages: float(stages > 1)))
    return features


def _least_times(knobs: Sequence[Knob]) -> list[Coordinate]:
    """Of a pace: requests get a token in each interval, or less often where steps take longer by themselves.

    That is straight between logarithms, and bent in the pace itself. Half the least pace stands for steps' own time.
    """
    return [
        Coordinate((knob.name,), partial(_octaves_beyond, min(float(value) for value in knob.values if value) / 2))
        for knob in knobs
        if knob.name == PACING
    ]


def _octaves_beyond(least: float, value: KnobValue) -> float:
    return math.log2(max(float(value), least) / least)


def is_ordinal(knob: Knob) -> bool:
    """Whether its values are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in knob.values)


def is_logarithmic(knob: Knob) -> bool:
    """Whether its values are positive numbers, or 0 for no limit."""
    return knob.name in NO_LIMIT_AT_ZERO or all(not isinstance(value, str) and value > 0 for value in knob.values)


def _scaled(knob: Knob, value: KnobValue) -> float:
    number = float(value)
    if not is_logarithmic(knob):
        return number
    if number <= 0:
        return math.log2(2 * max(float(each) for each in knob.values))
    return math.log2(number)
