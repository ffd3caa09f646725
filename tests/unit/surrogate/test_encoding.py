"""Configurations as numbers: the same one by one as thousands at once, and what many share is worked out once."""

import numpy as np
import pytest

from reconfigure_policies.domain.configuration import ConfigurationSpace, Knob, Tier
from reconfigure_policies.surrogate import Canonical
from reconfigure_policies.surrogate.encoding import Coordinate, encoding_of

from .worlds import CONTEXT, SPACE, enumeration

PARALLEL = ConfigurationSpace(
    (
        *SPACE.knobs,
        Knob("tensor_parallel_size", Tier.COLD, (1, 2, 4), 1),
        Knob("pipeline_parallel_size", Tier.COLD, (1, 2), 1),
        Knob("dtype", Tier.COLD, ("auto", "bfloat16", "float16"), "auto"),
    )
)


def test_many_at_once_are_what_they_are_one_by_one():
    """Rows do not depend on each other, in a space with every kind of knob."""
    candidates = enumeration(PARALLEL)[::7]
    encoding = encoding_of(PARALLEL, (CONTEXT,), Canonical())
    together = encoding.encode(candidates, [CONTEXT] * len(candidates))
    for row, candidate in enumerate(candidates):
        for whole, alone in zip(together, encoding.encode([candidate], [CONTEXT]), strict=True):
            assert (whole[row] == alone[0]).all()
    assert np.ptp(together[0], axis=0).min() > 0.7  # each input tells configurations apart


def test_gpus_have_one_law_whichever_way_they_are_shared():
    """Two by two is as many GPUs as four: the features differ in what a pipeline costs alone."""
    default = PARALLEL.default()
    two_by_two = default.with_changes({"tensor_parallel_size": 2, "pipeline_parallel_size": 2})
    four = default.with_changes({"tensor_parallel_size": 4})
    _, features = encoding_of(PARALLEL, (CONTEXT,), Canonical()).encode([default, two_by_two, four], [CONTEXT] * 3)
    gpus = features[:, -2]
    assert gpus.tolist() == [0, 2, 2]


def test_replicas_count_as_gpus_and_may_differ_from_those_that_share_each_layer():
    """Two replicas of two are as many GPUs as four; the fit can tell them apart, and from a pipeline."""
    space = ConfigurationSpace((*PARALLEL.knobs, Knob("data_parallel_size", Tier.COLD, (1, 2, 4), 1)))
    shapes = [(1, 1, 1), (4, 1, 1), (2, 1, 2), (1, 1, 4), (1, 2, 2)]
    names = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    configurations = [space.default().with_changes(dict(zip(names, shape, strict=True))) for shape in shapes]
    _, features = encoding_of(space, (CONTEXT,), Canonical()).encode(configurations, [CONTEXT] * len(shapes))
    assert features[:, -2].tolist() == [0, 2, 2, 2, 2]
    assert len({tuple(row) for row in features.tolist()}) == len(shapes)
    assert np.linalg.matrix_rank(features) == 4  # a level, GPUs, stages, replicas


def test_replicas_alone_have_one_law():
    """Where no other knob takes GPUs, their number is the number of GPUs, and no second feature says the same."""
    knob = Knob("data_parallel_size", Tier.COLD, (1, 2, 4), 1)
    space = ConfigurationSpace((*SPACE.knobs, knob))
    configurations = [space.default().with_changes({knob.name: replicas}) for replicas in knob.values]
    _, features = encoding_of(space, (CONTEXT,), Canonical()).encode(configurations, [CONTEXT] * 3)
    (varied,) = (column for column in features.T.tolist() if len(set(column)) > 1)
    assert varied == [0, 1, 2]


def test_a_pace_is_the_least_time_of_a_token():
    """Twice the pace is an octave more where a pace counts; one of 0 is like half the least. Only for that quantity."""
    configurations = [SPACE.default().with_changes({"pacing_interval_s": pace_s}) for pace_s in (0, 0.01, 0.02, 0.04)]
    of_tokens = encoding_of(SPACE, (CONTEXT,), Canonical(), with_least_times=True)
    of_joules = encoding_of(SPACE, (CONTEXT,), Canonical())
    _, features = of_tokens.encode(configurations, [CONTEXT] * 4)
    assert features[:, -1].tolist() == pytest.approx([0, 1, 2, 3])
    of_another_space = SPACE.default().with_changes({"pacing_interval_s": 0.0001})  # no step is as quick
    assert of_tokens.encode([of_another_space], [CONTEXT])[1][0, -1] == 0

    inputs, others = of_joules.encode(configurations, [CONTEXT] * 4)
    shared = of_joules.with_workload(*of_tokens.of_knobs(configurations), [CONTEXT] * 4)
    assert (shared[0] == inputs).all()
    assert (shared[1] == others).all()
    assert features[:, :-1].tolist() == others.tolist()


@pytest.mark.parametrize("name", ["gpu_clock_mhz", "power_cap_w", "long_prefill_token_threshold"])
def test_a_limit_of_zero_is_none(name: str):
    """It lies beyond the highest: a card without a lock or a cap is the fastest of all, not the slowest."""
    space = ConfigurationSpace((Knob(name, Tier.HOT, (0, 500, 1000), 0), Knob("block_size", Tier.COLD, (16, 32), 16)))
    configurations = [space.default().with_changes({name: limit}) for limit in (500, 1000, 0)]
    inputs, features = encoding_of(space, (CONTEXT,), Canonical()).encode(configurations, [CONTEXT] * 3)
    assert inputs[:, 0].tolist() == [0, 0.5, 1]
    assert np.diff(features[:, 1]).tolist() == [1, 1]


def test_without_a_pace_there_is_no_least_time():
    """Where it cannot be set, or is only ever 0, nothing is added."""
    for paces in ((), (Knob("pacing_interval_s", Tier.HOT, (0,), 0),)):
        space = ConfigurationSpace((*(knob for knob in SPACE.knobs if knob.name != "pacing_interval_s"), *paces))
        plain, other = (encoding_of(space, (CONTEXT,), Canonical(), with_least_times=each) for each in (False, True))
        assert len(plain.features) == len(other.features)


def test_a_value_is_turned_into_a_number_once():
    """However many configurations have it: with thousands of candidates that is most of a forecast's time."""
    asked = []

    def number_of(value):
        asked.append(value)
        return float(value)

    column = Coordinate(("max_num_seqs",), number_of).column({"max_num_seqs": [8, 16, 8, 8, 16]})
    assert column == [8, 16, 8, 8, 16]
    assert sorted(asked) == [8, 16]


def test_a_configuration_that_stands_for_itself_is_not_copied():
    """One with other knobs than the space's, or under a rule of what makes no difference, is."""
    candidate = SPACE.default()
    plain = encoding_of(SPACE, (CONTEXT,), Canonical())
    assert plain.effective(candidate) is candidate
    assert plain.effective(candidate.with_changes({"further": 1})) == candidate
    ruled = encoding_of(SPACE, (CONTEXT,), Canonical(without_effect=frozenset({"block_size"})))
    assert "block_size" not in ruled.effective(candidate)
