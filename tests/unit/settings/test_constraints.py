"""A space that cannot be is refused when it is read, at the line to change."""

from __future__ import annotations

import pytest

from reconfigure_daemon.errors import SettingsInvalid
from reconfigure_daemon.settings import load_settings

SPACE = """space:
  max_num_seqs: {values: [16, 64]}
  tensor_parallel_size: {values: [2, 4], default: 2}
"""


@pytest.fixture
def faults_of(tmp_path):
    def read(text: str) -> list[str]:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SettingsInvalid) as refused:
            load_settings(path, {})
        return [fault.removeprefix(f"{path}:") for fault in refused.value.faults]

    return read


@pytest.mark.parametrize(
    ("constraints", "where", "words"),
    [
        (
            "{gpus: 1}",
            "4: constraints.gpus: ",
            "no configuration of the space is left: each of its 4 is ruled out here",
        ),
        ("{attention_heads: 7}", "4: constraints.attention_heads: ", "7 attention heads cannot be divided"),
        ("{weights_gib: 400, gpu_memory_gib: 80}", "4: constraints.weights_gib: ", "may take 72 of its 80 GiB"),
        ("{weights_gib: 400}", "4: constraints.weights_gib: ", "says nothing without constraints.gpu_memory_gib"),
        ("{gpu_memory_gib: 80}", "4: constraints.gpu_memory_gib: ", "says nothing without constraints.weights_gib"),
        ("{exclude: [{dtype: x}]}", "4: constraints.exclude[0].dtype: ", "there is no knob 'dtype' in the space"),
        ("{exclude: [{max_num_seqs: 3}]}", "4: constraints.exclude[0].max_num_seqs: ", "it has: 16, 64"),
        ("{exclude: [{max_num_seqs: 16}, {max_num_seqs: 64}]}", "4: constraints.exclude: ", "is excluded"),
        ("{exclude: [{tensor_parallel_size: 2}]}", "3: space.tensor_parallel_size: ", "the defaults cannot serve"),
        ("{gpus: 0}", "4: constraints.gpus: ", "at least 1"),
        ("{gpu: 4}", "4: constraints.gpu: ", "allowed here: gpus, attention_heads"),
    ],
)
def test_a_space_that_cannot_be_is_refused_at_its_line(faults_of, constraints, where, words):
    """What rules it out, how much of it, and what to do."""
    (fault,) = faults_of(SPACE + f"constraints: {constraints}\n")
    assert fault.startswith(where)
    assert words in fault


def test_an_objective_may_not_name_what_cannot_serve(faults_of):
    """Its configuration is refused when the settings are read, not when the night begins."""
    text = SPACE + "objectives:\n  energy: {tensor_parallel_size: 4}\nconstraints: {gpus: 2}\n"
    (fault,) = faults_of(text)
    assert fault.startswith("5: objectives.energy: this configuration cannot serve: tensor_parallel_size=4")


def test_gpus_of_all_replicas_are_counted(tmp_path, faults_of):
    """Two replicas on two GPUs each need four; with two, one of both knobs is at 1."""
    space = (
        "space:\n  tensor_parallel_size: {values: [1, 2]}\n  data_parallel_size: {values: [1, 2], default: DEFAULT}\n"
    )
    path = tmp_path / "config.yaml"
    path.write_text(space.replace("DEFAULT", "1") + "constraints: {gpus: 2}\n", encoding="utf-8")
    left = load_settings(path, {}).configuration_space().enumerate()
    assert {(c["tensor_parallel_size"], c["data_parallel_size"]) for c in left} == {(1, 1), (1, 2), (2, 1)}
    (fault,) = faults_of(space.replace("DEFAULT", "2") + "constraints: {gpus: 1}\n")
    assert "data_parallel_size=2 needs 2 GPUs, and 1 may be used" in fault


def test_a_budget_below_the_cap_is_never_enumerated(tmp_path):
    """vLLM refuses fewer tokens in a step than requests, whether or not constraints are declared."""
    path = tmp_path / "config.yaml"
    path.write_text("space: {max_num_seqs: {values: [16, 64]}, max_num_batched_tokens: {values: [32, 64]}}\n")
    space = load_settings(path, {}).configuration_space()
    assert {(c["max_num_seqs"], c["max_num_batched_tokens"]) for c in space.enumerate()} == {
        (16, 32),
        (16, 64),
        (64, 64),
    }
