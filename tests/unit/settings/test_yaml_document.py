"""YAML is read as people mean it, with the line of everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.settings.yaml_document import read_yaml


def test_words_of_yaml_1_1_are_plain_text():
    """`off`, `no` and `1:30` stay text, and a leading zero is no octal number."""
    assert read_yaml("[off, no, Yes, 1:30, 010, 2024-01-01]").data == ["off", "no", "Yes", "1:30", 10, "2024-01-01"]


def test_numbers_booleans_and_nothing():
    """Decimal numbers, `true`, `false` and `null` mean what they say; quotes make text of them."""
    expected = [1, -2, 0.5, 1000.0, float("inf"), True, False, None, None, "1", "true"]
    assert read_yaml("[1, -2, .5, 1e3, .inf, true, FALSE, null, ~, '1', \"true\"]").data == expected


def test_every_key_and_value_has_its_line():
    """The line of a key is where it stands, also inside lists."""
    document = read_yaml("a: 1\n\nb:\n  c: [1,\n    2]\n")
    assert document.lines == {(): 1, ("a",): 1, ("b",): 3, ("b", "c"): 4, ("b", "c", 0): 4, ("b", "c", 1): 5}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1\nc: 2\n", 3, "cannot be read as YAML"),
        ("\ta: 1", 1, "cannot start any token"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("a: 1\nb: \x01", 2, "U+0001"),
        ("a: &x [1]\nb: *x", 2, "alias"),
        ("[" * 5000, 1, "nested too deeply"),
    ],
)
def test_text_that_cannot_be_read_is_one_fault_with_its_line(text, line, words):
    """What is no YAML, or YAML that could grow without bound, is named with its line."""
    (fault,) = read_yaml(text).faults
    assert (fault.line, fault.path) == (line, ())
    assert words in fault.message


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("a: 1\na: 2", ("a",), "found twice, first in line 1"),
        ("x: 1\n? [1]\n: 2", (), "a key is one word"),
        ("x: 1\na: !secret 3", ("a",), "found !secret '3'"),
        ("x: 1\na: !!int x", ("a",), "found int 'x'"),
        ('x: 1\na: "\\ud800"', ("a",), "cannot be read"),
        ('x: 1\n"\\ud800": 1', (), "half a character"),
        ("x: 1\na: " + "[" * 9 + "1" + "]" * 9, ("a", *[0] * 8), "nested too deeply"),
    ],
)
def test_a_faulty_entry_leaves_the_rest_readable(text, path, words):
    """One entry that cannot be used is a fault of line 2, and the data holds the others."""
    document = read_yaml(text)
    (fault,) = document.faults
    assert (fault.line, fault.path) == (2, path)
    assert words in fault.message
    assert {"x", "a"} & document.data.keys()


def test_a_number_too_long_for_any_purpose_is_infinite():
    """Thousands of digits are no way to stop the reader; what asks for a finite number refuses them."""
    assert read_yaml("9" * 5000).data == float("inf")


@given(st.text())
def test_any_text_is_read_or_has_faults(text):
    """No text makes the reader raise, and every fault has a line."""
    assert all(fault.line >= 1 for fault in read_yaml(text).faults)
