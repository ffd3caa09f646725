"""Every configuration that can be, each effect once, and nothing else."""

from __future__ import annotations

from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconfigure_policies.decision import move_between
from reconfigure_policies.domain.configuration import (
    Configuration,
    ConfigurationOutsideSpace,
    ConfigurationSpace,
    Knob,
    Tier,
)
from reconfigure_policies.domain.constraints import BudgetHoldsCap, Excluded, GpusSuffice, HeadsDivide, WeightsFit

VALUES = {
    "max_num_seqs": (16, 64, 256),
    "max_num_batched_tokens": (128, 512, 2048),
    "long_prefill_token_threshold": (0, 128, 512),
    "prefix_cache_reading": (True, False),
    "enable_prefix_caching": (True, False),
    "tensor_parallel_size": (1, 2, 4),
    "pipeline_parallel_size": (1, 2),
    "data_parallel_size": (1, 2),
    "quantization": ("none", "fp8"),
}
CONSTRAINTS = (
    BudgetHoldsCap(),
    GpusSuffice(4),
    HeadsDivide(6),
    WeightsFit(20.0, 24.0, 0.75, kv_cache_gib=4.0),
    Excluded({"tensor_parallel_size": 2, "quantization": "fp8"}),
)


def space_of(values, constraints=()):
    knobs = tuple(Knob(name, Tier.COLD, tuple(given), given[0]) for name, given in values.items())
    return ConfigurationSpace(knobs, tuple(constraints))


def some_of(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


SPACES = st.builds(
    space_of,
    st.fixed_dictionaries({}, optional={name: some_of(values) for name, values in VALUES.items()}).filter(bool),
    st.lists(st.sampled_from(CONSTRAINTS), unique_by=id),
)


@settings(max_examples=60)
@given(SPACES)
def test_each_effect_that_can_be_is_enumerated_exactly_once(space):
    """What is enumerated is the set of effective forms of all combinations that break no constraint."""
    combinations = [
        Configuration(zip(names_of(space), values, strict=True)) for values in product(*(k.values for k in space.knobs))
    ]
    expected = {space.effective(each) for each in combinations if not space.faults_of(each)}
    found = list(space.enumerate())
    assert len(found) == len(set(found))
    assert set(found) == expected


def names_of(space):
    return [knob.name for knob in space.knobs]


@given(SPACES, st.data())
def test_the_effective_form_of_an_effective_form_is_itself(space, data):
    """It is a configuration of the same space."""
    configuration = Configuration({knob.name: data.draw(st.sampled_from(knob.values)) for knob in space.knobs})
    effective = space.effective(configuration)
    space.check(effective)
    assert space.effective(effective) == effective


def test_a_limit_no_step_can_reach_is_no_limit():
    """A threshold at or above the budget does what 0 does; one below it does not."""
    space = space_of({"max_num_batched_tokens": (512,), "long_prefill_token_threshold": (0, 256, 512, 1024)})
    assert [each["long_prefill_token_threshold"] for each in space.enumerate()] == [0, 256]


def test_enumeration_is_worked_out_as_it_is_asked_for():
    """The first candidates of a space of ten billion cost nothing."""
    space = space_of({f"knob_{letter}": tuple(range(10)) for letter in "abcdefghij"})
    assert len(list(islice(space.enumerate(), 3))) == 3


@pytest.mark.parametrize(
    ("constraint", "values", "fault"),
    [
        (BudgetHoldsCap(), {"max_num_batched_tokens": 128, "max_num_seqs": 256}, "is below max_num_seqs=256"),
        (
            GpusSuffice(4),
            {"tensor_parallel_size": 4, "pipeline_parallel_size": 2},
            "tensor_parallel_size=4 x pipeline_parallel_size=2 needs 8 GPUs, and 4 may be used",
        ),
        (GpusSuffice(1), {"tensor_parallel_size": 2}, "tensor_parallel_size=2 x pipeline_parallel_size=1 needs 2 GPUs"),
        (
            GpusSuffice(7),
            {"tensor_parallel_size": 2, "pipeline_parallel_size": 2, "data_parallel_size": 2},
            "tensor_parallel_size=2 x pipeline_parallel_size=2 x data_parallel_size=2 needs 8 GPUs, and 7 may be used",
        ),
        (GpusSuffice(2), {"data_parallel_size": 3}, "data_parallel_size=3 needs 3 GPUs, and 2 may be used"),
        (GpusSuffice(4), {"tensor_parallel_size": 2, "data_parallel_size": 2}, None),
        (HeadsDivide(14), {"tensor_parallel_size": 4}, "14 attention heads cannot be divided among"),
        (WeightsFit(140, 80), {"tensor_parallel_size": 1}, "140 GiB of weights, and a core may take 72 of its 80 GiB"),
        (WeightsFit(140, 80), {"tensor_parallel_size": 2}, None),
        (WeightsFit(140, 80), {"data_parallel_size": 4}, "140 GiB of weights, and a core may take 72 of its 80 GiB"),
        (WeightsFit(140, 80), {"tensor_parallel_size": 2, "data_parallel_size": 4}, None),
        (WeightsFit(140, 80), {"quantization": "fp8"}, None),
        (WeightsFit(40, 80), {"dtype": "float32"}, "80 GiB of weights"),
        (WeightsFit(40, 80), {"kv_cache_memory_bytes": 40 * 2**30}, "and 40 GiB of KV cache"),
        (WeightsFit(40, 80), {"gpu_memory_utilization": 0.45}, "may take 36 of its 80 GiB"),
        (Excluded({"dtype": "float16", "block_size": 16}), {"dtype": "float16", "block_size": 16}, "is excluded"),
        (Excluded({"dtype": "float16", "block_size": 16}), {"dtype": "float16", "block_size": 32}, None),
        (Excluded({"dtype": "float16"}), {}, None),
    ],
)
def test_a_constraint_tells_why(constraint, values, fault):
    """With the numbers that collide; where they do not, it says nothing."""
    found = constraint.broken_by(values)
    assert found is None if fault is None else fault in found


def test_no_move_leads_where_nothing_can_serve():
    """An apply that breaks a constraint is refused with why; a way out of a broken one is not."""
    space = space_of({"tensor_parallel_size": (1, 2, 4), "block_size": (16, 32)}, [GpusSuffice(2)])
    with pytest.raises(ConfigurationOutsideSpace, match="needs 4 GPUs, and 2 may be used"):
        move_between(space, space.default(), {"tensor_parallel_size": 4})
    broken = Configuration({"tensor_parallel_size": 4, "block_size": 16})
    assert move_between(space, broken, {"block_size": 32}).target["block_size"] == 32
