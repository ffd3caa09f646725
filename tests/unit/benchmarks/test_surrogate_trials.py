"""Raw measurements for judging surrogates go on in their file, and in no other."""

import json

import pytest

from benchmarks.gpu.surrogate_trials import continued
from benchmarks.harness.processes import ServerFailed

OF = {"session": "training", "engine": "vllm", "model": "mistral-7b-shape", "prompt_tokens": 128}


def test_a_session_goes_on_in_its_file(tmp_path):
    """With every trial that it has."""
    file = tmp_path / "training.json"
    file.write_text(json.dumps({**OF, "runs": [], "trials": [{"key": "fp8-01/0"}]}))
    assert continued(file, OF)["trials"] == [{"key": "fp8-01/0"}]


@pytest.mark.parametrize("content", ["3", "{", json.dumps(OF)])
def test_another_file_is_refused(tmp_path, content):
    """Before anything is measured, and nothing is overwritten."""
    file = tmp_path / "some.json"
    file.write_text(content)
    with pytest.raises(ServerFailed, match=r"some\.json holds no trials"):
        continued(file, OF)
    assert file.read_text() == content


@pytest.mark.parametrize(("name", "value"), [("session", "held_out"), ("model", "another"), ("prompt_tokens", 512)])
def test_trials_measured_otherwise_are_not_mixed_in(tmp_path, name, value):
    """What differs is said with both values."""
    file = tmp_path / "training.json"
    file.write_text(json.dumps({**OF, name: value, "runs": [], "trials": []}))
    with pytest.raises(ServerFailed, match=f"{name} is {value!r} there, {OF[name]!r} here"):
        continued(file, OF)
