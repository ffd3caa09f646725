"""Prompts of an exact length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.load_generation.plan import PlannedRequest
from reconfigure_daemon.load_generation.prompts import PromptSource


def common_prefix(one: list[int], other: list[int]) -> int:
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


@given(st.integers(2, 200_000), st.integers(1, 2000), st.lists(st.integers(0, 50), max_size=5), st.integers(1, 512))
def test_prompts_have_the_exact_length_and_valid_ids(vocab_size: int, length: int, blocks: list[int], block: int):
    """Whatever the blocks, a prompt has the planned length and only ids that the vocabulary has."""
    tokens = PromptSource(vocab_size, 0).tokens(PlannedRequest(0, 0, length, 1, tuple(blocks), block))
    assert len(tokens) == length
    assert all(0 < token < vocab_size for token in tokens)


def test_shared_blocks_are_shared_tokens():
    """Two requests share exactly the tokens of their common leading blocks."""
    source = PromptSource(32_000, 0)
    one, other = (source.tokens(PlannedRequest(i, 0, 300, 1, (7, 8 + i, 9), 100)) for i in (0, 1))
    assert common_prefix(one, other) == 100
    assert one[200:] == other[200:]


def test_requests_without_blocks_share_nothing():
    """Prompts of a trace without block ids differ from the first tokens on, so a prefix cache gains nothing."""
    source = PromptSource(32_000, 0)
    one, other = (source.tokens(PlannedRequest(i, 0, 1000, 1)) for i in (0, 1))
    assert common_prefix(one, other) < 3


@pytest.mark.parametrize("blocks", [(), (4,)])
def test_the_seed_decides_the_prompt(blocks: tuple[int, ...]):
    """The same seed makes the same prompt in another process's source, another seed another prompt."""
    request = PlannedRequest(3, 0, 600, 1, blocks)
    again, different = PromptSource(32_000, 5).tokens(request), PromptSource(32_000, 6).tokens(request)
    assert PromptSource(32_000, 5).tokens(request) == again != different


def test_special_tokens_are_left_alone():
    """Ids below 1000, where special tokens live, are not used when the vocabulary has others."""
    assert min(PromptSource(32_000, 0).tokens(PlannedRequest(0, 0, 50_000, 1))) >= 1000
