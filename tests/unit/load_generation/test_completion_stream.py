"""Server-sent events in, times and tokens out."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.load_generation.completion_stream import CompletionStream


def event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()


def output(text: str = "a", finish: str | None = None, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "text": text, "finish_reason": finish, **more}]})


ANSWER = (
    output("é")
    + output("")
    + b": a comment\n\n"
    + output("b", "length")
    + event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 3}})
    + b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(ANSWER)), max_size=20))
def test_an_answer_reads_the_same_in_any_pieces(cuts: list[int]):
    """TCP may cut an answer anywhere, also inside a character, without changing what it says."""
    stream = CompletionStream(keep_output=True)
    edges = [0, *sorted(cuts), len(ANSWER)]
    for begin, end in itertools.pairwise(edges):
        stream.feed(ANSWER[begin:end], float(end))
    assert (stream.output_tokens, stream.finish_reason, stream.done, stream.fault) == (3, "length", True, "")
    assert ("".join(stream.text), len(stream.gaps_s)) == ("éb", 2)


def test_gaps_are_between_outputs():
    """The first output has a time, each later one a gap to the one before it."""
    stream = CompletionStream()
    for at_s in (10.0, 10.5, 12.5):
        stream.feed(output(), at_s)
    assert (stream.first_output_s, list(stream.gaps_s), stream.output_tokens) == (10.0, [0.5, 2.0], 3)


def test_an_output_of_several_tokens_counts_them():
    """Where the server sends token ids, an event counts as many tokens as it has ids; an empty one is no output."""
    stream = CompletionStream(keep_output=True)
    stream.feed(output("ab", token_ids=[5, 6]) + output("", token_ids=[]) + output("c", token_ids=[7]), 1.0)
    assert (stream.output_tokens, list(stream.token_ids), list(stream.gaps_s)) == (3, [5, 6, 7], [0.0])


def test_a_closing_event_without_text_is_no_output():
    """A server that sends its finish reason alone does not add a token or a gap with it."""
    stream = CompletionStream()
    stream.feed(output() + output("", "length"), 1.0)
    assert (stream.output_tokens, len(stream.gaps_s), stream.finish_reason) == (1, 0, "length")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (event({"error": {"message": "out of memory", "code": 500}}), "out of memory"),
        (event({"error": "boom"}), "boom"),
        (b"data: {half\n\n", "an event that is no completion: {half"),
        (b"data: [1]\n\n", "an event that is no completion: [1]"),
        (event({"choices": [1]}), "an event that is no completion"),
        (event({"choices": {"a": 1}}), "an event that is no completion"),
        (event({"usage": {"prompt_tokens": 1}}), "an event that is no completion"),
    ],
)
def test_what_is_no_output_is_a_fault(content: bytes, fault: str):
    """An error event or an unreadable one is kept in words and never ends the reading."""
    stream = CompletionStream()
    stream.feed(output() + content + output(), 1.0)
    assert stream.fault.startswith(fault)
    assert stream.output_tokens == 2


def test_token_ids_that_are_none_are_a_fault():
    """A token id below zero is told as a fault when outputs are kept, instead of ending the replay."""
    stream = CompletionStream(keep_output=True)
    stream.feed(output("a", token_ids=[-1]), 1.0)
    assert stream.fault.startswith("an event that is no completion")
