"""Words as tokens, and answers that follow from the prompt alone: the same before, during and after a switch."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

VOCABULARY_SIZE = 32_000

#: Where a request that does not ask for an exact length ends by itself.
_SHORTEST_ANSWER, _LONGEST_ANSWER = 16, 256

_WORD = 0xFFFF_FFFF_FFFF_FFFF


def encode(text: str) -> list[int]:
    """One token for each word; `decode` writes words that read back as the same tokens."""
    return [_token_of(word) for word in text.split()]


def decode(tokens: Sequence[int]) -> str:
    """Each token as a word with a blank before it."""
    return "".join(f" t{token}" for token in tokens)


def seed_of(prompt: Sequence[int]) -> int:
    """What the answer to a prompt depends on."""
    return _digest(array("q", prompt).tobytes())


def answer_token(seed: int, position: int) -> int:
    """The output token at a position, from 0."""
    mixed = (seed + (position + 1) * 0x9E37_79B9_7F4A_7C15) & _WORD  # splitmix64: every position looks random
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9) & _WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB) & _WORD
    return (mixed ^ (mixed >> 31)) % VOCABULARY_SIZE


def natural_length(seed: int) -> int:
    """How many tokens an answer has that ends by itself."""
    return _SHORTEST_ANSWER + seed % (_LONGEST_ANSWER - _SHORTEST_ANSWER + 1)


def block_hashes(prompt: Sequence[int], block_tokens: int) -> list[int]:
    """A hash for each full block of a prompt, each standing for the block and everything before it."""
    hashes, before = [], b""
    for start in range(0, len(prompt) - block_tokens + 1, block_tokens):
        before = hashlib.blake2b(before + array("q", prompt[start : start + block_tokens]).tobytes()).digest()
        hashes.append(int.from_bytes(before[:8]))
    return hashes


def _token_of(word: str) -> int:
    number = word.removeprefix("t")
    if word != number and number.isascii() and number.isdigit() and int(number) < VOCABULARY_SIZE:
        return int(number)
    return _digest(word.encode()) % VOCABULARY_SIZE


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
